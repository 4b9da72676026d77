package topic

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// route is a producer's way to one topic: a lane per partition, made when first used.
type route struct {
	p     *Producer
	topic *Topic
	name  string
	lanes atomic.Pointer[[]atomic.Pointer[lane]] // replaced, longer, when partitions were added

	retired atomic.Bool // the topic is gone

	mu    sync.Mutex
	loose sticky // where records go that may go anywhere
}

func newRoute(p *Producer, t *Topic) *route {
	r := &route{p: p, topic: t, name: t.Name()}
	lanes := make([]atomic.Pointer[lane], t.Partitions())
	r.lanes.Store(&lanes)
	return r
}

// choose picks the lane of a record; loose says that the record could have gone anywhere.
func (r *route) choose(rec Record, bound int) (l *lane, loose bool, err error) {
	n := r.topic.Partitions()
	partition := AnyPartition
	if _, usual := r.p.cfg.partitioner.(byKey); !usual {
		if partition, err = r.ask(rec, n); err != nil {
			return nil, false, err
		}
	} else if rec.Key != nil {
		partition = PartitionForKey(rec.Key, n)
	}
	switch {
	case partition == AnyPartition && n == 1:
		partition = 0
	case partition == AnyPartition:
		l, err = r.chooseLoose(n, bound)
		return l, true, err
	}
	if err := checkPartition(r.name, partition, n); err != nil {
		return nil, false, err
	}
	l, err = r.lane(partition)
	return l, false, err
}

// ask calls the user's partitioner. A panic in it fails the record that it was asked about.
func (r *route) ask(rec Record, n int) (partition int32, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			r.p.eng.reportPanic("partitioner", r.name, AnyPartition, cause)
			err = fmt.Errorf("%w: the partitioner panicked: %v", ErrInvalid, cause)
		}
	}()
	return r.p.cfg.partitioner.Partition(rec, n), nil
}

// chooseLoose stays with the current partition unless its share is full and its batch is too.
func (r *route) chooseLoose(n, bound int) (*lane, error) {
	r.mu.Lock()
	if !r.loose.chosen {
		r.loose.move(r.draw(n))
	}
	current, due := r.loose.current, r.loose.due(r.p.cfg.batchSize)
	r.mu.Unlock()
	l, err := r.lane(current)
	if err != nil || !due || n == 1 || !l.atBoundary(bound) {
		return l, err
	}
	r.mu.Lock()
	if r.loose.current == current {
		r.loose.move(r.draw(n))
	}
	current = r.loose.current
	r.mu.Unlock()
	return r.lane(current)
}

// noteLoose counts the bytes of a record that chooseLoose placed.
func (r *route) noteLoose(at placed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.loose.add(at.bytes, r.p.cfg.batchSize, at.boundary) {
		r.loose.move(r.draw(r.topic.Partitions()))
	}
}

func (r *route) draw(n int) int32 {
	if n == 1 {
		return 0
	}
	if !r.p.cfg.adaptive {
		return pickPartition(n, func(int) int { return 0 })
	}
	lanes := *r.lanes.Load()
	return pickPartition(n, func(i int) int {
		if i < len(lanes) {
			if l := lanes[i].Load(); l != nil {
				return int(l.depth.Load())
			}
		}
		return 0
	})
}

// lane returns the lane of a partition that exists.
func (r *route) lane(partition int32) (*lane, error) {
	lanes := *r.lanes.Load()
	if int(partition) < len(lanes) {
		if l := lanes[partition].Load(); l != nil {
			return l, nil
		}
	}
	return r.makeLane(partition)
}

func (r *route) makeLane(partition int32) (*lane, error) {
	part, err := r.topic.Partition(partition)
	if err != nil {
		return nil, err
	}
	p := r.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed.Load() {
		return nil, ErrClosed
	}
	lanes := *r.lanes.Load()
	if int(partition) >= len(lanes) {
		longer := make([]atomic.Pointer[lane], max(int(partition)+1, r.topic.Partitions()))
		for i := range lanes {
			longer[i].Store(lanes[i].Load())
		}
		r.lanes.Store(&longer)
		lanes = longer
	}
	if l := lanes[partition].Load(); l != nil {
		return l, nil
	}
	l := newLane(r, part, partition)
	lanes[partition].Store(l)
	p.lanes = append(p.lanes, l)
	return l, nil
}
