package log

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"time"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/segment"
)

// rewriting makes new segments out of old ones, for compaction and redaction.
type rewriting struct {
	l        *Log
	ctx      context.Context // of the pass: it ends when somebody halts it
	cfg      *Config
	throttle func(ctx context.Context, bytes int) error
	atOnce   bool // the replaced files go without delay

	sweeper segment.Sweeper
	w       record.Rewriter
	r       record.Record
	unpaid  int // bytes that throttle has not been told of

	// Of the group at hand.
	out     *segment.Segment // what is being built
	buf     []byte           // batches for it
	changed bool             // it differs from what it is made of
	room    int64            // by how much it may still outgrow that
	aside   int64            // bytes that Hooks.Aside was told of
}

// rewrittenGroup tells what became of a group; fresh is nil if it stayed as it was.
type rewrittenGroup struct {
	fresh         *segment.Segment
	read, written int64
}

// errMoved: a segment that was to be replaced left the log meanwhile.
var errMoved = errors.New("log: a segment was removed while it was being rewritten")

// rewrite shows every batch of the group, checked, to visit, which calls write, verbatim
// or rewritten for what is to stay, and puts the result in the group's place. If nothing
// changed it does not.
func (w *rewriting) rewrite(group []*segment.Segment, visit func(b record.Batch) error) (g rewrittenGroup, err error) {
	w.room, w.changed, w.buf = math.MaxInt32, len(group) > 1, w.buf[:0]
	for _, s := range group {
		w.room -= s.Size()
	}
	cfg := *w.cfg.segmentConfig()
	cfg.PreWrite = 0
	w.out, err = segment.CreateMarked(w.l.fs, w.l.dir, group[0].Base(), segment.Cleaned, &cfg)
	if err != nil {
		return g, err
	}
	for _, s := range group {
		if err == nil {
			err = w.sweep(s, visit)
			g.read += s.Size()
		}
	}
	if err == nil && w.changed {
		err = w.complete(group)
	}
	if err == nil && w.changed {
		g.written = w.out.Size()
		err = w.l.replace(group, w.out, w.delay())
	}
	if err != nil && !errors.Is(err, errDecided) && slices.ContainsFunc(group, (*segment.Segment).Retired) {
		err = errors.Join(errMoved, err) // whatever went wrong with its files
	}
	switch {
	case err == nil && w.changed:
		g.fresh = w.out
	case errors.Is(err, errDecided):
	default:
		w.discard()
	}
	w.out = nil
	w.setAside(-w.aside)
	w.trim()
	return g, err
}

// delay is how long the files of what was replaced stay.
func (w *rewriting) delay() time.Duration {
	if w.atOnce {
		return 0
	}
	return w.cfg.fileDeleteDelay()
}

func (w *rewriting) sweep(s *segment.Segment, visit func(b record.Batch) error) error {
	if !s.Pin() {
		return errMoved
	}
	defer s.Unpin()
	return s.Sweep(&w.sweeper, math.MinInt64, func(b record.Batch) error {
		if err := w.account(len(b)); err != nil {
			return err
		}
		return visit(b)
	})
}

// verbatim writes a batch as it is.
func (w *rewriting) verbatim(b record.Batch) error { return w.append(b) }

// write writes a batch that is not what was read.
func (w *rewriting) write(b record.Batch) error {
	w.changed = true
	return w.append(b)
}

// rewritten writes the records of b that w.w keeps. A batch that grows beyond what a
// segment's positions can express stays as it is: the next pass may find more room.
func (w *rewriting) rewritten(b record.Batch, o record.RewriteOptions) error {
	fresh, err := w.w.Batch(o)
	if err != nil {
		return err
	}
	growth := int64(len(fresh) - len(b))
	if growth > w.room {
		return w.verbatim(b)
	}
	w.room -= growth
	return w.write(fresh)
}

func (w *rewriting) append(b record.Batch) error {
	w.buf = append(w.buf, b...)
	if len(w.buf) < ioBytes {
		return nil
	}
	return w.flush()
}

func (w *rewriting) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	n := len(w.buf)
	w.setAside(int64(n))
	err := w.out.Append(w.buf)
	w.buf = w.buf[:0]
	if err != nil {
		return err
	}
	return w.account(n)
}

// setAside says that n more bytes are about to lie beside the log, or no longer do.
func (w *rewriting) setAside(n int64) {
	w.aside += n
	if n != 0 && w.l.hooks.Aside != nil {
		w.l.hooks.Aside(n)
	}
}

// account tells throttle of bytes read or written, and finds out whether to stop.
func (w *rewriting) account(n int) error {
	if w.ctx.Err() != nil {
		return bounded.Cause(w.ctx)
	}
	w.unpaid += n
	if w.throttle == nil || w.unpaid < ioBytes {
		return nil
	}
	n, w.unpaid = w.unpaid, 0
	return w.throttle(w.ctx, n)
}

// complete makes the new segment durable under its name aside. It is as old as the last
// one that it is made of.
func (w *rewriting) complete(group []*segment.Segment) error {
	if err := w.flush(); err != nil {
		return err
	}
	last := group[len(group)-1]
	sparse := w.out.Next() != last.Next()
	for _, s := range group {
		sparse = sparse || s.Sparse()
	}
	info, err := w.l.fs.Stat(last.Path())
	if err != nil {
		return err
	}
	facts := segment.SideFacts{TopicID: w.cfg.TopicID, Sparse: sparse, Reach: last.Reach()}
	if facts.Reach < 0 {
		facts.Reach = w.l.behind(last)
	}
	return w.out.Complete(facts, last.Created(), info.ModTime)
}

// discard removes what was built. What it cannot remove the next pass does, or the next Open.
func (w *rewriting) discard() {
	_ = w.out.Close()
	_ = w.l.clearAside()
}

// trim gives back what unusually large batches took.
func (w *rewriting) trim() {
	const usual = 4 << 20
	w.sweeper.Trim(usual)
	w.w.Trim(usual)
	if cap(w.buf) > usual {
		w.buf = nil
	}
}

// clearAside removes what a pass left behind before its decision. Files that have got the
// decision's name already go first, and durably: as long as the data file is there under
// its name aside, nobody takes them for decided.
func (l *Log) clearAside() error {
	names, err := l.fs.List(l.dir)
	if err != nil {
		return err
	}
	undecided := slices.ContainsFunc(names, func(name string) bool {
		_, kind, ok := segment.ParseName(name)
		return ok && kind == segment.KindLog|segment.Cleaned
	})
	for _, mark := range [...]segment.Kind{segment.Swap, segment.Cleaned} {
		found := false
		for _, name := range names {
			if _, kind, ok := segment.ParseName(name); !ok || kind.Mark() != mark {
				continue
			}
			if mark == segment.Swap && !undecided {
				return fmt.Errorf("log: %s waits for the next open: %w", name, ErrBusy)
			}
			found = true
			if err := l.fs.Remove(filepath.Join(l.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		if !found {
			continue
		}
		if err := l.fs.SyncDir(l.dir); err != nil {
			l.fail(err)
			return err
		}
	}
	return nil
}
