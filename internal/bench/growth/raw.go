package growth

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"

	"github.com/quirelog/quire/internal/bench/machine"
)

// rawFrame is the bytes that a batch of one record takes beside its value, in quire's files as in raw's.
const rawFrame = 70

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// rawFile is one file that is appended to: a pwrite and a checksum a batch, an fdatasync for all who wait.
type rawFile struct {
	f       *os.File
	mu      sync.Mutex
	synced  sync.Cond
	end     int64
	durable int64
	syncing bool
	failed  error
}

func createRaw(name string) (*rawFile, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	r := &rawFile{f: f}
	r.synced.L = &r.mu
	return r, err
}

// append writes b with its checksum at the end; durable: it is on disk then.
func (r *rawFile) append(b []byte, durable bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	sum := crc32.Checksum(b[4:], castagnoli)
	b[0], b[1], b[2], b[3] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
	if _, err := r.f.WriteAt(b, r.end); err != nil {
		return err
	}
	r.end += int64(len(b))
	if durable {
		return r.commit(r.end)
	}
	return nil
}

// commit waits, with the lock held, until what lies below end is on disk.
func (r *rawFile) commit(end int64) error {
	for r.durable < end && r.failed == nil {
		if r.syncing {
			r.synced.Wait()
			continue
		}
		r.syncing = true
		upTo := r.end
		r.mu.Unlock()
		err := machine.Datasync(r.f)
		r.mu.Lock()
		r.syncing, r.durable, r.failed = false, upTo, err
		r.synced.Broadcast()
	}
	return r.failed
}

// rawFiles are n files in a directory of their own.
type rawFiles struct {
	dir   string
	files []*rawFile
}

func (e *env) openRaw(n int) (*rawFiles, error) {
	dir, err := e.fresh("raw")
	if err != nil {
		return nil, err
	}
	r := &rawFiles{dir: dir, files: make([]*rawFile, n)}
	for i := range r.files {
		if r.files[i], err = createRaw(filepath.Join(dir, fmt.Sprint(i))); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *rawFiles) end() error {
	var errs []error
	for _, f := range r.files {
		errs = append(errs, f.f.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(r.dir))...)
}
