package group

import (
	"context"
	"fmt"

	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/topic"
)

// localHost is the ClientHost of members of this process, so that after a restart they are known to be gone.
const localHost = "in-process"

// load reads the partition unless that was done, or waits for whoever does.
func (s *shard) load(ctx context.Context) error {
	for {
		mine, wait, err := s.claimLoad()
		switch {
		case err != nil || (!mine && wait == nil):
			return err
		case mine:
			return s.loadApart(ctx)
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return bounded.Cause(ctx)
		}
	}
}

// loadApart reads for the caller that claimed it. When ctx ends first the reading goes on, for others.
func (s *shard) loadApart(ctx context.Context) error {
	out, err := bounded.Err(ctx, &s.c.calls, 0, func() error {
		seats, err := s.read()
		s.loaded(seats, s.c.eng.Downtimes(), err)
		return err
	})
	if out == bounded.NotBegun {
		s.loaded(nil, nil, err)
	}
	if err != nil {
		return fmt.Errorf("%w: reading %s: %w", ErrNotAvailable, s, err)
	}
	return nil
}

// claimLoad tells the caller to read, or what to wait for, or neither.
func (s *shard) claimLoad() (mine bool, wait <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.gone != nil:
		return false, nil, s.gone
	case s.ready:
		return false, nil, nil
	case s.loading != nil:
		return false, s.loading, nil
	}
	s.loading = make(chan struct{})
	return true, nil, nil
}

// loaded takes over what was read and begins the groups' lives in this process.
func (s *shard) loaded(machines map[string]*machine, closed []topic.Downtime, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	done := s.loading
	s.loading = nil
	defer close(done)
	if err != nil || s.gone != nil {
		return
	}
	s.ready = true
	for name, m := range machines {
		if m.unused() {
			continue
		}
		t := s.seatLocked(name)
		t.m = m
		if s.c.eng.ReadOnly() {
			continue // nobody can be told to go
		}
		s.stepLocked(t, 0, opened{closed})
		if r, ok := formerLocals(m); ok {
			s.stepLocked(t, 0, r)
		}
		for _, name := range m.lostTopics() {
			s.stepLocked(t, 0, topicDeleted{name})
		}
	}
}

// formerLocals names the members of an earlier process. Static ones may come back, and have their session for that.
func formerLocals(m *machine) (LeaveRequest, bool) {
	var r LeaveRequest
	if m.classic != nil {
		for _, member := range m.classic.members {
			if member.clientHost == localHost && member.instance == "" {
				r.Members = append(r.Members, Leaver{MemberID: member.id})
			}
		}
	}
	return r, len(r.Members) > 0
}

// lostTopics lists topics with offsets that do not exist any more.
func (m *machine) lostTopics() []string {
	var list []string
	for _, key := range m.offsets.keys(true) {
		if _, ok := m.meta[key.Topic]; !ok && (len(list) == 0 || list[len(list)-1] != key.Topic) {
			list = append(list, key.Topic)
		}
	}
	return list
}

// read replays the partition's log, as far as it is visible now.
func (s *shard) read() (map[string]*machine, error) {
	p, err := s.home.Partition(s.id)
	if err != nil {
		return nil, err
	}
	marks, err := p.Offsets()
	if err != nil {
		return nil, err
	}
	l := loader{c: s.c, meta: s.c.metadata(), machines: map[string]*machine{}}
	for offset := marks.Start; offset < marks.High; {
		next, err := l.run(p, offset)
		if err != nil {
			return nil, err
		}
		if next <= offset {
			break // nothing more is visible
		}
		offset = next
	}
	return l.machines, nil
}

// A loader makes machines from records.
type loader struct {
	c        *Coordinator
	meta     assignor.Metadata
	machines map[string]*machine
	dec      record.Decoder
	buf      []byte
}

// run replays one run of batches and gives the offset behind it.
func (l *loader) run(p *topic.Partition, offset int64) (int64, error) {
	raw, err := p.FetchRaw(context.Background(), offset, topic.Fetch{})
	if err != nil {
		return 0, err
	}
	defer raw.Release()
	if l.buf, err = raw.AppendTo(l.buf[:0]); err != nil {
		return 0, err
	}
	for b, err := range record.Batches(l.buf) {
		if err == nil {
			err = b.Check()
		}
		if err == nil {
			err = l.batch(b)
		}
		if err != nil {
			return 0, fmt.Errorf("at offset %d: %w", offset, err)
		}
		offset = b.NextOffset()
	}
	return offset, nil
}

func (l *loader) batch(b record.Batch) error {
	if b.Control() {
		t, _, err := record.ParseControl(b)
		for _, m := range l.machines {
			m.step(0, 0, EndTransaction{ProducerID: b.ProducerID(), Committed: t == record.Commit})
		}
		return err
	}
	producer := int64(-1)
	if b.Transactional() {
		producer = b.ProducerID()
	}
	if err := l.dec.Reset(b, 0); err != nil {
		return err
	}
	var r record.Record
	for l.dec.Next(&r) {
		if err := l.record(&r, producer); err != nil {
			return err
		}
	}
	return l.dec.Err()
}

func (l *loader) record(r *record.Record, producer int64) error {
	key, err := ParseRecordKey(r.Key)
	if err != nil || key.Kind > KeyCurrent {
		return err
	}
	var value RecordValue
	if r.Value != nil {
		if value, err = ParseRecordValue(key.Kind, r.Value); err != nil {
			return err
		}
	}
	m := l.machines[key.Group]
	if m == nil {
		m = newMachine(key.Group, l.c.cfg, l.meta)
		l.machines[key.Group] = m
	}
	m.replay(key, value, producer)
	return nil
}
