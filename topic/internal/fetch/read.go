package fetch

import (
	"context"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/log"
)

// batchRun is what one read gave: whole batches, and where to go on.
type batchRun struct {
	run  []byte
	next log.Place
}

// read reads batches of c's partition into the fetcher's buffer. A read that goes on alone keeps the buffer.
func (f *Fetcher[R]) read(ctx context.Context, c *Cursor[R]) ([]byte, log.Place, error) {
	if ctx.Done() == nil {
		return c.log.Read(f.buf, c.place, f.options(c))
	}
	l, buf, place, o := c.log, f.buf, c.place, f.options(c)
	s, out, err := bounded.Do(ctx, c.src.Calls(), 0, func() (batchRun, error) {
		run, next, err := l.Read(buf, place, o)
		return batchRun{run, next}, err
	})
	if out == bounded.Alone {
		f.buf = nil
	}
	return s.run, s.next, err
}
