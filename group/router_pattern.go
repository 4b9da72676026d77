package group

import (
	"bytes"
	"strings"
)

// patterns finds the bindings whose pattern a routing key matches, by the rules of RabbitMQ's topic exchange: a key is words separated by
// dots, "*" in a pattern is one word, "#" any number of words, none too. An empty text has no words; "a." has two, the second one empty.
//
// It is a trie of words. A run of wildcards is kept as its stars and then at most one "#", which means the same ("#.*.#" is "*.#"); so below
// a "#" there are only words. A match walks all of the trie at once, word by word: it is in some nodes, and in a "#" node from the moment it
// got to it, since "#" may take any word that comes. Each node is entered at most once for each word, so the work is at most words x nodes,
// whatever the patterns, and for ordinary ones a look or two for each word, however many there are.
//
// Not safe for use at once, but for matches with a walk each.
type patterns struct {
	root   patternNode
	hashes int   // numbers given to "#" nodes
	free   []int // of those, not in use
}

// patternNode is a place in a pattern.
type patternNode struct {
	words map[string]*patternNode
	star  *patternNode
	hash  *patternNode
	id    int // of a "#" node
	ends  []*boundRoute
}

const (
	anyWord  = "*"
	anyWords = "#"
)

// patternWords splits a pattern, and brings runs of wildcards into their one form.
func patternWords(pattern string) []string {
	if pattern == "" {
		return nil
	}
	var list []string
	open := false // a "#" of the run of wildcards that is being read
	for _, w := range strings.Split(pattern, ".") {
		switch w {
		case anyWords:
			open = true
			continue
		case anyWord:
		default:
			if open {
				list, open = append(list, anyWords), false
			}
		}
		list = append(list, w)
	}
	if open {
		list = append(list, anyWords)
	}
	return list
}

// step is the node behind a word of a pattern, nil if there is none.
func (n *patternNode) step(word string) *patternNode {
	switch word {
	case anyWord:
		return n.star
	case anyWords:
		return n.hash
	}
	return n.words[word]
}

func (n *patternNode) set(word string, to *patternNode) {
	switch {
	case word == anyWord:
		n.star = to
	case word == anyWords:
		n.hash = to
	case to == nil:
		delete(n.words, word)
	case n.words == nil:
		n.words = map[string]*patternNode{word: to}
	default:
		n.words[word] = to
	}
}

func (n *patternNode) empty() bool {
	return len(n.words) == 0 && n.star == nil && n.hash == nil && len(n.ends) == 0
}

// add puts a binding at the end of its pattern.
func (p *patterns) add(pattern string, b *boundRoute) {
	n := &p.root
	for _, w := range patternWords(pattern) {
		next := n.step(w)
		if next == nil {
			next = &patternNode{}
			if w == anyWords {
				next.id = p.number()
			}
			n.set(w, next)
		}
		n = next
	}
	n.ends = append(n.ends, b)
}

// remove takes a binding away, and with it the nodes that nothing needs any more.
func (p *patterns) remove(pattern string, b *boundRoute) {
	words := patternWords(pattern)
	path := []*patternNode{&p.root}
	for _, w := range words {
		path = append(path, path[len(path)-1].step(w))
	}
	last := path[len(path)-1]
	last.ends = without(last.ends, b)
	for i := len(words) - 1; i >= 0 && path[i+1].empty(); i-- {
		if words[i] == anyWords {
			p.free = append(p.free, path[i+1].id)
		}
		path[i].set(words[i], nil)
	}
}

func (p *patterns) number() int {
	if n := len(p.free); n > 0 {
		id := p.free[n-1]
		p.free = p.free[:n-1]
		return id
	}
	p.hashes++
	return p.hashes - 1
}

// patternWalk is the memory of matches, used again and again by one goroutine.
type patternWalk struct {
	at, next []*patternNode // where it is, and is going to be
	open     []*patternNode // the "#" nodes it has come to
	seen     []uint32       // by number of "#" node: the match that came to it last
	match    uint32
}

// match calls found with each node whose pattern the key matches.
func (p *patterns) match(key []byte, w *patternWalk, found func([]*boundRoute)) {
	w.begin(p.hashes)
	w.enter(&p.root)
	w.at, w.next = w.next, w.at[:0]
	for rest, more := key, len(key) > 0; more; {
		var word []byte
		word, rest, more = cutWord(rest)
		open := w.open // those reached by this very word come after it
		for _, n := range w.at {
			if n.star != nil {
				w.enter(n.star)
			}
			if to := n.words[string(word)]; to != nil {
				w.enter(to)
			}
		}
		for _, n := range open {
			if to := n.words[string(word)]; to != nil {
				w.enter(to)
			}
		}
		w.at, w.next = w.next, w.at[:0]
		if len(w.at) == 0 && len(w.open) == 0 {
			break
		}
	}
	for _, list := range [][]*patternNode{w.at, w.open} {
		for _, n := range list {
			if len(n.ends) > 0 {
				found(n.ends)
			}
		}
	}
}

func (w *patternWalk) begin(hashes int) {
	if w.match++; w.match == 0 || len(w.seen) < hashes {
		w.seen, w.match = make([]uint32, hashes), 1
	}
	w.at, w.next, w.open = w.at[:0], w.next[:0], w.open[:0]
}

// enter goes to a node, and to the "#" below it, which may take no word at all.
func (w *patternWalk) enter(n *patternNode) {
	w.next = append(w.next, n)
	if h := n.hash; h != nil && w.seen[h.id] != w.match {
		w.seen[h.id] = w.match
		w.open = append(w.open, h)
	}
}

// cutWord gives the first word, what follows its dot, and whether there was one.
func cutWord(key []byte) (word, rest []byte, more bool) {
	if i := bytes.IndexByte(key, '.'); i >= 0 {
		return key[:i], key[i+1:], true
	}
	return key, nil, false
}
