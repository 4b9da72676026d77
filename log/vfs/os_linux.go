package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// sendBytes is the most one sendfile call is asked for; the kernel's own limit
// lies just below 2 GiB.
const sendBytes = 1 << 30

func openFile(name string, flag int, mode os.FileMode) (*os.File, error) {
	return os.OpenFile(name, flag|unix.O_CLOEXEC, mode)
}

// openDir opens a directory and nothing else.
func openDir(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// control runs call on the descriptor of f until it is no longer interrupted.
func control(f *os.File, op string, call func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var fault error
	err = raw.Control(func(fd uintptr) {
		for {
			fault = call(int(fd))
			if fault != unix.EINTR {
				return
			}
		}
	})
	if err != nil { // Control refuses closed files only, with an error of its own
		return pathError(op, f.Name(), fs.ErrClosed)
	}
	if fault != nil {
		return pathError(op, f.Name(), fault)
	}
	return nil
}

// excludeRecordLocks takes the lock that a Java program, Apache Kafka's broker for one, takes of its lock file (fcntl),
// but for the open file, not for the process. A system that has none goes without.
func excludeRecordLocks(f *os.File) error {
	err := control(f, "lock", func(fd int) error {
		return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	})
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return unix.EWOULDBLOCK
	}
	return nil
}

// admitRecordLocks frees the lock of excludeRecordLocks.
func admitRecordLocks(f *os.File) {
	_ = control(f, "unlock", func(fd int) error {
		return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK})
	})
}

// dataSync makes data and length durable, but spares the times of the inode.
func dataSync(f *os.File) error {
	return control(f, "fdatasync", unix.Fdatasync)
}

// preallocate reserves blocks and keeps the length. File systems that cannot
// reserve are left alone.
func preallocate(f *os.File, off, n int64) error {
	err := control(f, "fallocate", func(fd int) error {
		return unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}

// syncDir makes the entries of a directory durable. A file system that answers
// EINVAL has no notion of it (some network ones) and nothing more can be done.
func syncDir(dir string) error {
	f, err := openDir(dir)
	if err != nil {
		return err
	}
	err = f.Sync()
	if errors.Is(err, unix.EINVAL) {
		err = nil
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// sendFile lets the kernel move the bytes when w is a socket. The offset is given
// with each call, so the position of the descriptor plays no part and any number
// of senders may run at once. The answer is errCannotSend, with what was sent so
// far, when the rest must be copied.
func sendFile(w io.Writer, f *os.File, off, n int64) (int64, error) {
	conn, ok := w.(syscall.Conn)
	if _, file := w.(*os.File); !ok || file {
		return 0, errCannotSend
	}
	dst, err := conn.SyscallConn()
	if err != nil {
		return 0, errCannotSend
	}
	src, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	var sent int64
	var fault, waitErr error
	err = src.Control(func(from uintptr) {
		waitErr = dst.Write(func(to uintptr) bool {
			var again bool
			again, fault = sendSome(int(to), int(from), off, n, &sent)
			return !again
		})
	})
	if err != nil {
		return sent, pathError("sendfile", f.Name(), fs.ErrClosed)
	}
	if waitErr != nil {
		return sent, waitErr
	}
	return sent, fault
}

// sendSome sends until all is sent, something fails, or the socket is full: then
// again is true and the caller waits for room.
func sendSome(to, from int, off, n int64, sent *int64) (again bool, err error) {
	for *sent < n {
		at := off + *sent
		k, err := unix.Sendfile(to, from, &at, int(min(n-*sent, sendBytes)))
		if k > 0 {
			*sent += int64(k)
		}
		switch {
		case err == nil && k == 0:
			return false, io.ErrUnexpectedEOF
		case err == nil, err == unix.EINTR:
		case err == unix.EAGAIN:
			return true, nil
		case err == unix.EINVAL, err == unix.ENOSYS, err == unix.EOPNOTSUPP, err == unix.ENOTSOCK:
			return false, errCannotSend
		default:
			return false, os.NewSyscallError("sendfile", err)
		}
	}
	return false, nil
}

func isPlatformNoSpace(error) bool { return false }
