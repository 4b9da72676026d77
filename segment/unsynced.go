package segment

// rewriteUnsynced writes the bytes [from, to) of the data file again where they lie.
//
// After a failed fsync of an earlier run the page cache shows bytes that are not
// on disk and takes them for clean, so that the next fsync succeeds without
// writing them. What recovery keeps of the part that nobody knows to be on disk
// must therefore become dirty once more before it is synced and served. Writing
// the same bytes is harmless at every point of a crash.
func (r *recovery) rewriteUnsynced(from, to int64) error {
	buf := make([]byte, min(to-from, scanBytes))
	for from < to {
		n := min(to-from, int64(len(buf)))
		if err := r.s.ReadAt(buf[:n], from); err != nil {
			return err
		}
		if _, err := r.f.WriteAt(buf[:n], from); err != nil {
			return err
		}
		from += n
	}
	return nil
}

// RewriteEnd makes the end of the data file durable as it is seen: after a failed
// fsync of an earlier run the page cache may show a cut that is not on disk and
// takes it for clean. Changing the size and back makes it dirty again. Only for an
// active segment that nobody appends to.
func (s *Segment) RewriteEnd() error {
	f, err := s.writable()
	if err != nil {
		return err
	}
	size := s.facts.size
	if err := f.Truncate(size + 1); err != nil {
		return err
	}
	if err := f.Truncate(size); err != nil {
		return err
	}
	s.ahead = size
	return s.Sync()
}
