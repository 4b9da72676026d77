package record

// Limits of an interner: a hostile batch must not make it grow without end.
const (
	maxNames    = 256
	maxNameLen  = 64
	recentNames = 8
)

// interner keeps header names, so that a name that comes again costs no
// allocation. Header names are few in practice, and a record's k-th header mostly
// has the name of the k-th header of the record before. Names past the limits are
// allocated each time.
type interner struct {
	recent [recentNames]string // by position among a record's headers
	names  map[string]string
}

// intern returns p, the name of a record's k-th header, as a string.
func (n *interner) intern(k int, p []byte) string {
	recent := &n.recent[k%recentNames]
	if *recent == string(p) {
		return *recent
	}
	s, ok := n.names[string(p)]
	if !ok {
		if s = string(p); !n.keep(s) {
			return s
		}
	}
	*recent = s
	return s
}

// keep remembers s if the limits allow.
func (n *interner) keep(s string) bool {
	if len(s) > maxNameLen || len(n.names) >= maxNames {
		return false
	}
	if n.names == nil {
		n.names = make(map[string]string)
	}
	n.names[s] = s
	return true
}
