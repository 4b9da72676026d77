package growth

import (
	"context"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/topic"
)

const (
	sizeRecord, sizeBatch = 1000, 4 // a batch fits into a page of 4 KiB
	sizeTail              = 4 << 20 // appended before a kill
)

func sizeFamilies() []*family {
	const cache = "what is read lies in memory or on the disk"
	curve := func(id, name, unit string, l Limits) Curve {
		return Curve{ID: id, Name: name, Unit: unit, Machine: cache, Limits: l}
	}
	get := unlimited
	get.Allocs = 4
	return []*family{{id: "size", axis: "MB", points: [3][]int{{1, 4}, {10, 100}, {100, 1000, 15_000}},
		ground: fillLog, quire: openSized, raw: openSizedRaw, leave: leaveLog,
		curves: []Curve{
			curve("read", "sequential read, borrowed", "record", Limits{0.05, 0, -1, 0, 0.01}), curve("get", "Partition.View at random", "record", get),
			curve("time", "OffsetForTime at random", "look-up", get), curve("open", "open after a clean stop", "opening", unlimited),
			curve("killed", "open after a kill", "opening", unlimited),
		}}}
}

// sized is a log that both contenders read: quire through its engine, raw the same files.
type sized struct {
	dir      string
	segments []string
	segment  int64
	records  int64
	from, to time.Time
}

func (l *sized) options() []topic.TopicOption {
	return []topic.TopicOption{topic.NoSync(), topic.SegmentBytes(l.segment)}
}

func fillLog(e *env, n int) (any, error) {
	dir, err := e.fresh("sized")
	if err != nil {
		return nil, err
	}
	l := &sized{dir: dir, segment: [...]int64{1 << 20, 4 << 20, 64 << 20}[e.Scale], records: int64(n) * 1000 * 1000 / sizeRecord / sizeBatch * sizeBatch, from: time.Now()}
	if err := appendTo(dir, l.records, l.options()...); err != nil {
		return nil, err
	}
	l.to = time.Now()
	l.segments, err = filepath.Glob(filepath.Join(dir, growing+"-0", "*.log"))
	slices.Sort(l.segments)
	return l, err
}

// appendTo appends records to the one partition of the topic in dir and closes it.
func appendTo(dir string, records int64, opts ...topic.TopicOption) error {
	ctx := context.Background()
	eng, err := topic.Open(dir)
	if err != nil {
		return err
	}
	t, err := eng.Topic(ctx, growing, opts...)
	if err != nil {
		return errors.Join(err, eng.Close())
	}
	return errors.Join(appendMany(ctx, t, records), eng.Close())
}

func appendMany(ctx context.Context, t *topic.Topic, records int64) error {
	p, err := t.Partition(0)
	if err != nil {
		return err
	}
	src := rand.NewChaCha8([32]byte{})
	recs := make([]topic.Record, sizeBatch)
	for i := range recs {
		recs[i].Value = make([]byte, sizeRecord)
		_, _ = src.Read(recs[i].Value) // never fails
	}
	for range records / sizeBatch {
		if _, err := p.Append(ctx, recs...); err != nil {
			return err
		}
	}
	return nil
}

// Tail is what the process does that is to be killed: it appends to the topic in dir, and leaves its engine open.
func Tail(dir string, bytes int64) error {
	eng, err := topic.Open(dir)
	if err != nil {
		return err
	}
	t, err := eng.Topic(context.Background(), growing)
	if err != nil {
		return err
	}
	return appendMany(context.Background(), t, bytes/sizeRecord)
}

func leaveLog(ground any) error { return os.RemoveAll(ground.(*sized).dir) }

// sizedEngine is quire with the log.
type sizedEngine struct {
	*engine
	log   *sized
	topic *topic.Topic
	part  *topic.Partition
	round uint64
}

func openSized(e *env, _ int, ground any) (*rig, error) {
	l := ground.(*sized)
	g := &sizedEngine{log: l, engine: e.at(l.dir)}
	g.heapBound = topic.DefaultIndexMemory + engineHeap
	if err := g.open(); err != nil {
		return nil, err
	}
	if err := g.roam(); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return &rig{all: g.samples, close: g.Close}, nil
}

func (g *sizedEngine) open() (err error) {
	if err = g.reopen(); err != nil {
		return err
	}
	if g.topic, err = g.Topic(context.Background(), growing); err == nil {
		g.part, err = g.topic.Partition(0)
	}
	if err == nil {
		_, err = g.part.End()
	}
	if err != nil {
		return errors.Join(err, g.Close())
	}
	return nil
}

// roam looks at every batch once, so that all is remembered that will be.
func (g *sizedEngine) roam() error {
	for off := int64(0); off < g.log.records; off += sizeBatch {
		if err := g.part.View(context.Background(), off, func(*record.Record) error { return nil }); err != nil {
			return err
		}
	}
	return nil
}

func (g *sizedEngine) samples() ([]sample, error) {
	g.round++
	ctx, pick := context.Background(), rand.New(rand.NewPCG(g.round, 2))
	s := &stages{calls: &g.fs.Calls}
	s.count(func() (int, error) { return g.read(ctx, pick.Int64N(g.log.records)) })
	s.count(func() (int, error) {
		return g.e.pingPong(func() error {
			return g.part.View(ctx, pick.Int64N(g.log.records), func(*record.Record) error { return nil })
		})
	})
	s.count(func() (int, error) {
		return g.e.pingPong(func() error {
			_, _, _, err := g.part.OffsetForTime(ctx, g.log.from.Add(time.Duration(pick.Int64N(int64(g.log.to.Sub(g.log.from))))))
			return err
		})
	})
	s.aside(func() error {
		for i := range s.list {
			g.hold(&s.list[i])
		}
		return g.Close()
	})
	s.count(func() (int, error) { return 1, g.open() })
	s.aside(g.Close)
	s.aside(func() error { return g.e.Kill(g.dir, sizeTail) })
	s.count(func() (int, error) { return 1, g.open() })
	return s.list, s.err
}

// count is a stage that tells how much it did.
func (s *stages) count(f func() (int, error)) {
	if s.err != nil {
		return
	}
	m, err := timed(s.calls, f)
	s.list, s.err = append(s.list, m), err
}

// read goes over records from an offset on, from the start again at the end, until the slice is over.
func (g *sizedEngine) read(ctx context.Context, from int64) (n int, err error) {
	var d record.Decoder
	var r record.Record
	for until := time.Now().Add(g.e.slice); time.Now().Before(until); from = 0 {
		for b, err := range g.topic.Batches(ctx, 0, topic.FromOffset(from), topic.UntilEnd()) {
			if err != nil {
				return n, err
			}
			if err := d.Reset(b, 0); err != nil {
				return n, err
			}
			for d.Next(&r) {
				n++
			}
			if time.Now().After(until) {
				break
			}
		}
	}
	return n, d.Err()
}

// sizedRaw reads the segments of the same log.
type sizedRaw struct {
	e     *env
	log   *sized
	files []*os.File
	round uint64
	buf   []byte
}

func openSizedRaw(e *env, _ int, ground any) (*rig, error) {
	r := &sizedRaw{e: e, log: ground.(*sized), buf: make([]byte, 1<<20)}
	for _, name := range r.log.segments {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		r.files = append(r.files, f)
	}
	return &rig{all: r.samples, close: func() (err error) {
		for _, f := range r.files {
			err = errors.Join(err, f.Close())
		}
		return err
	}}, nil
}

func (r *sizedRaw) samples() ([]sample, error) {
	r.round++
	pick := rand.New(rand.NewPCG(r.round, 2))
	s := &stages{}
	s.count(func() (int, error) { return r.read(pick.IntN(len(r.files))) })
	page := func() error {
		f := r.files[pick.IntN(len(r.files))]
		info, err := f.Stat()
		if err != nil {
			return err
		}
		return r.piece(f, pick.Int64N(max(1, info.Size())), sizeRecord*sizeBatch)
	}
	s.count(func() (int, error) { return r.e.pingPong(page) })
	s.count(func() (int, error) { return r.e.pingPong(page) })
	s.count(func() (int, error) { return 1, r.open(4096) })
	s.count(func() (int, error) { return 1, r.open(sizeTail) })
	return s.list, s.err
}

// piece reads so much of a file and makes its checksum; a file may end earlier.
func (r *sizedRaw) piece(f *os.File, at int64, n int) error {
	got, err := f.ReadAt(r.buf[:n], at)
	_ = crc32.Checksum(r.buf[:got], castagnoli)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// read goes over segments, a mebibyte at a time.
func (r *sizedRaw) read(first int) (n int, err error) {
	until := time.Now().Add(r.e.slice)
	for k := first; time.Now().Before(until); k++ {
		f := r.files[k%len(r.files)]
		for at := int64(0); at < r.log.segment && time.Now().Before(until); at += int64(len(r.buf)) {
			if err := r.piece(f, at, len(r.buf)); err != nil {
				return n, err
			}
			n += len(r.buf) / sizeRecord
		}
	}
	return n, nil
}

// open lists the directory and reads the end of its newest segment.
func (r *sizedRaw) open(tail int64) error {
	dir := filepath.Dir(r.log.segments[0])
	if _, err := os.ReadDir(dir); err != nil {
		return err
	}
	f, err := os.Open(r.log.segments[len(r.log.segments)-1])
	if err != nil {
		return err
	}
	for at := int64(0); at < tail && err == nil; at += int64(len(r.buf)) {
		err = r.piece(f, at, int(min(tail, int64(len(r.buf)))))
	}
	return errors.Join(err, f.Close())
}
