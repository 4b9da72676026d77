package segment

// redirty writes the bytes [from, to) of the data file again where they lie.
//
// After a failed fsync of an earlier run the page cache shows bytes that are not
// on disk and takes them for clean, so that the next fsync succeeds without
// writing them. What recovery keeps of the part that nobody knows to be on disk
// must therefore become dirty once more before it is synced and served. Writing
// the same bytes is harmless at every point of a crash.
func (r *recovery) redirty(from, to int64) error {
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
