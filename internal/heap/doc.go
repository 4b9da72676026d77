// Package heap holds the heap of items that know their places in it: the first comes out, and any one may be moved or taken out.
package heap
