package choice

import "fmt"

// Apply applies options in order. A nil one is left out and told, as an error that matches invalid.
func Apply[C any, O ~func(*C)](c *C, opts []O, invalid error) (fault error) {
	for i, opt := range opts {
		if opt != nil {
			opt(c)
		} else if fault == nil {
			fault = fmt.Errorf("%w: option %d of %d is nil", invalid, i+1, len(opts))
		}
	}
	return fault
}
