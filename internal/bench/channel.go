package main

import (
	"context"
	"errors"
)

// channel is no log at all: values copied through a channel. It shows what handing a record to another goroutine costs by itself.
type channel struct{}

func (channel) Name() string { return "channel" }

func (channel) Note() string {
	return "a buffered Go channel: no log, no file; the floor of handing over"
}

func (channel) Takes(group string, _ Level) bool { return group == groupTail }

func (channel) Open(string, Options) (Store, error) {
	return &channelStore{make(chan channelValue, 4096)}, nil
}

// channelValue is a record by value, so that nothing is allocated and the sender may use its bytes again.
type channelValue struct {
	n    int
	data [112]byte
}

type channelStore struct{ c chan channelValue }

func (s *channelStore) Close() error { return nil }

func (s *channelStore) Prepare(values [][]byte) any { return values }

func (s *channelStore) Append(batch any) error {
	for _, v := range batch.([][]byte) {
		var x channelValue
		if x.n = copy(x.data[:], v); x.n < len(v) {
			return errors.New("channel: value too long")
		}
		s.c <- x
	}
	return nil
}

func (s *channelStore) Tail() (Tail, error) { return &channelTail{c: s.c}, nil }

type channelTail struct {
	c    chan channelValue
	last channelValue
}

func (*channelTail) Close() error { return nil }

func (t *channelTail) Next(ctx context.Context, see func([]byte)) error {
	select {
	case t.last = <-t.c:
		see(t.last.data[:t.last.n])
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
