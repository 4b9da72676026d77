package topic

import (
	"context"
	"testing"
	"time"
)

func BenchmarkSend(b *testing.B) {
	for _, c := range []struct {
		name  string
		level TopicOption
	}{{"os", NoSync()}, {"sync", Durable()}} {
		b.Run(c.name, func(b *testing.B) {
			e := clientEngine(b)
			clientTopic(b, e, "t", c.level)
			p := clientProducer(b, e)
			rec := Record{Value: make([]byte, 100)}
			cb := func(Position, error) {}
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Send(b.Context(), "t", rec, cb); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			if err := p.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func BenchmarkPoll(b *testing.B) {
	e := clientEngine(b)
	fill(b, e, 200_000)
	b.Run("owned", func(b *testing.B) {
		c, err := e.NewConsumer(MaxWait(0))
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		_ = c.Assign(TopicPartition{"t", 0})
		b.ReportAllocs()
		for n := 0; n < b.N; {
			recs, err := c.Poll(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			if n += len(recs); len(recs) < 500 {
				_ = c.SeekToStart()
			}
		}
	})
	top, _ := e.lookup("t")
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for n := 0; n < b.N; {
			for _, err := range top.Read(b.Context(), UntilEnd()) {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
		}
	})
	b.Run("batches", func(b *testing.B) {
		b.ReportAllocs()
		for n := 0; n < b.N; {
			for batch, err := range top.Batches(b.Context(), 0, UntilEnd()) {
				if err != nil {
					b.Fatal(err)
				}
				n += batch.Count()
			}
		}
	})
}

func fill(b testing.TB, e *Engine, n int) {
	clientTopic(b, e, "t", NoSync())
	p := clientProducer(b, e)
	rec := Record{Value: make([]byte, 100), Time: time.UnixMilli(1_700_000_000_000)}
	for range n {
		if err := p.Send(context.Background(), "t", rec, nil); err != nil {
			b.Fatal(err)
		}
	}
	if err := p.Shutdown(context.Background()); err != nil {
		b.Fatal(err)
	}
}

// One goroutine sends, another polls: records a second from Send to Poll.
func BenchmarkEndToEnd(b *testing.B) {
	for _, c := range []struct {
		name  string
		disk  bool
		level TopicOption
	}{{"memory", false, NoSync()}, {"disk-os", true, NoSync()}, {"disk-sync", true, Durable()}} {
		b.Run(c.name, func(b *testing.B) { endToEnd(b, c.disk, c.level) })
	}
}

func endToEnd(b *testing.B, disk bool, level TopicOption) {
	var e *Engine
	if disk {
		var err error
		if e, err = Open(b.TempDir()); err != nil {
			b.Fatal(err)
		}
		defer e.Close()
	} else {
		e = clientEngine(b)
	}
	clientTopic(b, e, "t", level)
	p := clientProducer(b, e)
	c, err := e.NewConsumer()
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	_ = c.Assign(TopicPartition{"t", 0})
	rec := Record{Value: make([]byte, 100)}
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		for range b.N {
			if err := p.Send(context.Background(), "t", rec, nil); err != nil {
				panic(err)
			}
		}
	}()
	for n := 0; n < b.N; {
		recs, err := c.Poll(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		n += len(recs)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrec/s")
	_ = p.Close()
}

// One record at a time, each waited for: what handing over to the lane's goroutine and back costs.
func BenchmarkSendSync(b *testing.B) {
	e := clientEngine(b)
	clientTopic(b, e, "t", NoSync())
	p := clientProducer(b, e)
	rec := Record{Value: make([]byte, 100)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.SendSync(b.Context(), "t", rec); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	_ = p.Close()
}

func BenchmarkGoroutineOfTheEngine(b *testing.B) {
	e := clientEngine(b)
	done := make(chan struct{})
	b.ReportAllocs()
	for b.Loop() {
		e.goFunc(func() { done <- struct{}{} })
		<-done
	}
}

func BenchmarkGoroutine(b *testing.B) {
	done := make(chan struct{})
	for b.Loop() {
		go func() { done <- struct{}{} }()
		<-done
	}
}
