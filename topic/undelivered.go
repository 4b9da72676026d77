package topic

import (
	"errors"
	"fmt"
	"sync"
)

// ErrUndelivered: records that a producer had accepted are not known to be stored. See [UndeliveredError].
var ErrUndelivered = errors.New("topic: accepted records were not delivered")

// UndeliveredError counts the records that a producer's Close or Shutdown, or the engine's, could not deliver, and
// those that failed earlier with nothing to tell it to: neither a callback nor [OnError] nor an interceptor. It
// matches [ErrUndelivered] and the first of the causes.
type UndeliveredError struct {
	Records   int64 // not known to be stored
	Uncertain int64 // of these: may be stored
	Err       error // why the first of them failed
}

func (e *UndeliveredError) Error() string {
	return fmt.Sprintf("topic: %d accepted records were not delivered, %d of them may be stored: %v", e.Records, e.Uncertain, e.Err)
}

// Unwrap gives ErrUndelivered and the first cause.
func (e *UndeliveredError) Unwrap() []error { return []error{ErrUndelivered, e.Err} }

// losses counts what will be an UndeliveredError.
type losses struct {
	mu  sync.Mutex
	sum UndeliveredError
}

// note counts records that failed for one reason.
func (l *losses) note(records int64, err error) {
	if records == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sum.Records += records
	if errors.Is(err, ErrUncertain) {
		l.sum.Uncertain += records
	}
	if l.sum.Err == nil {
		l.sum.Err = err
	}
}

// add counts what another counted.
func (l *losses) add(other *losses) {
	other.mu.Lock()
	sum := other.sum
	other.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sum.Records += sum.Records
	l.sum.Uncertain += sum.Uncertain
	if l.sum.Err == nil {
		l.sum.Err = sum.Err
	}
}

// err is nil without losses.
func (l *losses) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sum.Records == 0 {
		return nil
	}
	sum := l.sum
	return &sum
}
