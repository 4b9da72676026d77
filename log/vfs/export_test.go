package vfs

// HandSteps is how many handles were looked at in search of one that gives way.
func (l *Limited) HandSteps() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ring.steps
}
