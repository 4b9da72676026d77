package log

import (
	"errors"
	"fmt"
)

// Why a batch of an idempotent or transactional producer is refused. Each is
// matched by a typed error that carries the facts. In all cases the batch is
// definitely not in the log.
var (
	// ErrOutOfOrderSequence: a batch does not continue the producer's sequence and is
	// no duplicate of its last five batches; see [SequenceError].
	ErrOutOfOrderSequence = errors.New("log: out of order sequence number")
	// ErrProducerFenced: a newer epoch of the producer has written; see [ProducerFencedError].
	ErrProducerFenced = errors.New("log: producer fenced")
	// ErrInvalidTxnState: a batch outside a transaction while the producer has one open;
	// see [TxnStateError].
	ErrInvalidTxnState = errors.New("log: invalid transaction state")
	// ErrCoordinatorFenced: a newer transaction coordinator has written a marker; see
	// [CoordinatorFencedError].
	ErrCoordinatorFenced = errors.New("log: transaction coordinator fenced")
)

// SequenceError tells which sequence number was due; it matches [ErrOutOfOrderSequence].
type SequenceError struct {
	ProducerID int64
	Epoch      int16 // the batch's
	Want, Got  int32 // first sequence number of the batch
}

func (e *SequenceError) Error() string {
	return fmt.Sprintf("log: producer %d epoch %d: sequence number %d out of order, want %d",
		e.ProducerID, e.Epoch, e.Got, e.Want)
}

// Is reports whether target is [ErrOutOfOrderSequence].
func (e *SequenceError) Is(target error) bool { return target == ErrOutOfOrderSequence }

// ProducerFencedError tells which epoch is in force; it matches [ErrProducerFenced].
// Kafka's clients know it as an invalid producer epoch.
type ProducerFencedError struct {
	ProducerID int64
	Epoch      int16 // the batch's
	Current    int16 // the newest this log has seen, -1 if none
}

func (e *ProducerFencedError) Error() string {
	return fmt.Sprintf("log: producer %d fenced: epoch %d, current is %d", e.ProducerID, e.Epoch, e.Current)
}

// Is reports whether target is [ErrProducerFenced].
func (e *ProducerFencedError) Is(target error) bool { return target == ErrProducerFenced }

// TxnStateError tells which transaction is in the way; it matches [ErrInvalidTxnState].
type TxnStateError struct {
	ProducerID  int64
	Epoch       int16
	FirstOffset int64 // where the open transaction begins
}

func (e *TxnStateError) Error() string {
	return fmt.Sprintf("log: producer %d epoch %d: batch outside the transaction open since offset %d",
		e.ProducerID, e.Epoch, e.FirstOffset)
}

// Is reports whether target is [ErrInvalidTxnState].
func (e *TxnStateError) Is(target error) bool { return target == ErrInvalidTxnState }

// CoordinatorFencedError tells which coordinator epoch is in force; it matches
// [ErrCoordinatorFenced].
type CoordinatorFencedError struct {
	ProducerID     int64
	Epoch, Current int32 // coordinator epochs: the marker's, the newest seen
}

func (e *CoordinatorFencedError) Error() string {
	return fmt.Sprintf("log: producer %d: marker of coordinator epoch %d, current is %d",
		e.ProducerID, e.Epoch, e.Current)
}

// Is reports whether target is [ErrCoordinatorFenced].
func (e *CoordinatorFencedError) Is(target error) bool { return target == ErrCoordinatorFenced }
