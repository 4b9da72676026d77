package topic

import "context"

// idBlockSize is how many producer ids are taken from the manifest at once, as in Kafka.
const idBlockSize = 1000

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
	m := e.manifest.clone()
	first := m.NextProducerID
	m.NextProducerID += idBlockSize
	if err := e.store(m); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ids = idBlock{next: first, end: first + idBlockSize}
	return nil
}
