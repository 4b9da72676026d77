package topic

import (
	"fmt"
	"log/slog"
	"runtime/debug"
)

// ProducerInterceptor sees every record on its way into a producer and every outcome. Either function may be
// nil. A panic in one is logged and swallowed: the record goes on as it was before.
type ProducerInterceptor struct {
	// OnSend may change the record before its partition is chosen. It runs in the goroutine that sends. The
	// Topic it may not change. The bytes it puts in are read before Send returns.
	OnSend func(rec Record) Record
	// OnAck is told each record's outcome before the record's own callback, on the same goroutine: the
	// position, or an error and a position with offset -1. It is also told when Send refuses a record.
	OnAck func(pos Position, err error)
}

// ConsumerInterceptor sees records on their way out of a consumer.
type ConsumerInterceptor struct {
	// OnConsume may change, replace or drop records about to be returned by Poll, in order. What it drops
	// still counts as returned. A panic is logged and swallowed: the records go on as they were before.
	OnConsume func(recs []Record) []Record
}

// onSend passes a record through the interceptors.
func (p *Producer) onSend(topic string, rec Record) Record {
	for i := range p.cfg.interceptors {
		if f := p.cfg.interceptors[i].OnSend; f != nil {
			rec = p.guardSend(f, rec)
			rec.Topic = topic
		}
	}
	return rec
}

func (p *Producer) guardSend(f func(Record) Record, rec Record) (out Record) {
	defer func() {
		if r := recover(); r != nil {
			p.eng.reportPanic("producer interceptor", rec.Topic, AnyPartition, r)
			out = rec
		}
	}()
	return f(rec)
}

// onAck tells the interceptors an outcome.
func (p *Producer) onAck(pos Position, err error) {
	for i := range p.cfg.interceptors {
		if f := p.cfg.interceptors[i].OnAck; f != nil {
			p.guardAck(f, pos, err)
		}
	}
}

func (p *Producer) guardAck(f func(Position, error), pos Position, err error) {
	defer func() {
		if r := recover(); r != nil {
			p.eng.reportPanic("producer interceptor", pos.Topic, pos.Partition, r)
		}
	}()
	f(pos, err)
}

// onConsume passes records through a consumer's interceptors.
func onConsume(e *Engine, list []ConsumerInterceptor, recs []Record) []Record {
	for i := range list {
		if f := list[i].OnConsume; f != nil {
			recs = guardConsume(e, f, recs)
		}
	}
	return recs
}

func guardConsume(e *Engine, f func([]Record) []Record, recs []Record) (out []Record) {
	defer func() {
		if r := recover(); r != nil {
			e.reportPanic("consumer interceptor", recs[0].Topic, recs[0].Partition, r)
			out = recs
		}
	}()
	return f(recs)
}

// reportPanic tells the logger what a function of the user's did. It is called while the panic unwinds, so
// that the stack shows where it came from.
func (e *Engine) reportPanic(what, topic string, partition int32, cause any) {
	e.logger.Error("panic in a "+what, slog.String("topic", topic), slog.Int("partition", int(partition)),
		slog.String("err", fmt.Sprint(cause)), slog.String("stack", string(debug.Stack())))
}
