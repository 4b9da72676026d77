package log

import (
	"context"
	"sync"
	"time"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/log/record"
)

// A disk may hang in any call. What a caller with a context that can end asks of it runs apart, in a goroutine that ends
// with the call to the disk: the caller's wait ends with its context, and the call goes on and leaves the log as if the
// caller had waited. What is written belongs to the log until then, so it writes a copy.

// detached is the calls of a log.
type detached struct {
	writes bounded.Calls // writes of batches and rounds of the group commit: one of each at a time
	others bounded.Calls // whatever else may hang
}

func (l *Log) calls() *detached {
	if a := l.detached.Load(); a != nil {
		return a
	}
	l.detached.CompareAndSwap(nil, new(detached))
	return l.detached.Load()
}

// grace is how long a long piece of work may take to see that its context has ended, before its caller gives up waiting.
const grace = 250 * time.Millisecond

// copies are buffers for what is written apart.
var copies sync.Pool // of *[]byte

// mostCopied bounds the memory that an idle buffer may hold.
const mostCopied = 2 << 20

func takeCopy(b []byte) *[]byte {
	buf, _ := copies.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	*buf = append((*buf)[:0], b...)
	return buf
}

// putCopy gives a buffer back that no write uses any more.
func putCopy(buf *[]byte) {
	if cap(*buf) <= mostCopied {
		copies.Put(buf)
	}
}

// written is what a write under the log's lock gave: end is the offset after it, cuts the number of truncations before.
type written struct {
	Appended
	end, cuts int64
}

// appendDetached is Append for a context that can end.
func (l *Log) appendDetached(ctx context.Context, b record.Batch, o AppendOptions) (Appended, error) {
	cfg, mine := l.cfg.Load(), takeCopy(b)
	c, err := validate(cfg, *mine, &o)
	if err != nil {
		putCopy(mine)
		return Appended{}, err
	}
	w, out, err := l.writeDetached(ctx, cfg, func() (w written, err error) {
		w.Appended, w.cuts, err = l.appendLocked(cfg, &c, &o)
		return w, err
	})
	if out == bounded.Alone {
		return Appended{}, err
	}
	defer putCopy(mine)
	if err == nil {
		err = l.settle(ctx, cfg, w.Last+1, w.cuts, &o)
	}
	if err != nil {
		return Appended{}, err
	}
	copy(b[:record.HeaderSize], *mine)
	return w.Appended, nil
}

// appendRunDetached is AppendAt for a context that can end and a run that was checked.
func (l *Log) appendRunDetached(ctx context.Context, run []byte) error {
	cfg, mine := l.cfg.Load(), takeCopy(run)
	w, out, err := l.writeDetached(ctx, cfg, func() (w written, err error) {
		w.end, w.cuts, err = l.appendRunLocked(cfg, *mine)
		return w, err
	})
	if out == bounded.Alone {
		return err
	}
	defer putCopy(mine)
	if err != nil {
		return err
	}
	return l.settle(ctx, cfg, w.end, w.cuts, &AppendOptions{})
}

// writeDetached writes under the log's lock. When ctx ends while the write goes on, its outcome is not known.
func (l *Log) writeDetached(ctx context.Context, cfg *Config, write func() (written, error)) (written, bounded.Outcome, error) {
	if err := l.mu.LockWithin(ctx); err != nil {
		return written{}, bounded.NotBegun, err
	}
	w, out, err := bounded.Do(ctx, &l.calls().writes, 0, func() (written, error) {
		defer func() {
			l.tell()
			l.askForTick(cfg)
		}()
		defer l.mu.Unlock()
		return write()
	})
	switch out {
	case bounded.NotBegun:
		l.mu.Unlock()
	case bounded.Alone:
		err = uncertain(err)
	}
	return w, out, err
}
