package vfs

import (
	"io"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// mostWitnesses bounds the mappings of the process: it may have 65,530 unless told
// otherwise (vm.max_map_count), and dies when the Go runtime gets none.
const mostWitnesses = 1 << 15

var witnesses atomic.Int32

// mapWitness maps a page of the file that is never touched, so that the kernel keeps
// the inode after the last descriptor is closed. The inode remembers that writing
// back has failed until an fsync has told it (errseq_t, Linux 4.17); an inode that
// leaves memory forgets it, and the pages that were not written are clean by then.
func mapWitness(f *os.File) (io.Closer, error) {
	if witnesses.Add(1) > mostWitnesses {
		witnesses.Add(-1)
		return nil, unix.ENOMEM
	}
	var page []byte
	err := control(f, "mmap", func(fd int) (err error) {
		page, err = unix.Mmap(fd, 0, 1, unix.PROT_NONE, unix.MAP_SHARED)
		return err
	})
	if err != nil {
		witnesses.Add(-1)
		return nil, err
	}
	return &held{release: func() {
		_ = unix.Munmap(page)
		witnesses.Add(-1)
	}}, nil
}
