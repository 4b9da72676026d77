package topic

import (
	"context"
	"encoding/binary"

	"github.com/quirelog/quire/topic/internal/catalog"
)

const (
	// idBlockSize is how many producer ids are taken from the manifest at once, as in Kafka.
	idBlockSize = 1000
	// lowestProducerID is far above what a cluster's coordinator hands out in its blocks of a thousand from zero.
	lowestProducerID = 1 << 32
	// producerIDBits is the size of ids at most, so that tools that read JSON numbers as floating point show them as they are.
	producerIDBits = 52
)

// drawProducerID is where producer ids begin in a directory whose own count is not known, a new one too. Partitions move: under a broker, back,
// and between directories, and for a day they remember the sequence numbers of each id. A producer with an id that somebody else had would be
// taken for that one, and its first batches for batches that were sent twice. So each directory begins somewhere else.
func drawProducerID() (int64, error) {
	id, err := newID()
	if err != nil {
		return -1, err
	}
	drawn := int64(binary.BigEndian.Uint64(id[8:]) >> (64 - producerIDBits))
	return max(drawn-drawn%idBlockSize, lowestProducerID), nil
}

// idBlock is the producer ids taken and not yet given out: [next, end).
type idBlock struct{ next, end int64 }

// nextProducerID gives a producer id that this directory has never given out before, also after a crash: the
// block it comes from is durably taken first. ErrClosed, ErrReadOnly, and what storing the manifest says.
func (e *Engine) nextProducerID() (int64, error) {
	for {
		if id, ok := e.fromBlock(); ok {
			return id, nil
		}
		if err := e.takeTurn(context.Background()); err != nil {
			return -1, err
		}
		err := e.takeBlockInTurn()
		e.endTurn()
		if err != nil {
			return -1, err
		}
	}
}

func (e *Engine) fromBlock() (int64, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ids.next >= e.ids.end {
		return -1, false
	}
	e.ids.next++
	return e.ids.next - 1, true
}

// takeBlockInTurn takes the next block, unless somebody did while the caller waited for its turn.
func (e *Engine) takeBlockInTurn() error {
	e.mu.RLock()
	left := e.ids.end - e.ids.next
	e.mu.RUnlock()
	if left > 0 {
		return nil
	}
	first := e.catalog.NextProducerID()
	if first == 0 {
		var err error
		if first, err = drawProducerID(); err != nil {
			return err
		}
	}
	if err := e.catalog.Commit(catalog.Change{NextProducerID: first + idBlockSize}); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ids = idBlock{next: first, end: first + idBlockSize}
	return nil
}
