package record

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// ErrOldFormat: the bytes are messages in a format of Apache Kafka before 0.11 (magic 0 or 1), which this package does not read. They are not
// damaged.
var ErrOldFormat = errors.New("record: messages of magic 0 or 1, the formats of Kafka before 0.11")

// minOldLength is the length of the smallest old message: checksum, magic, attributes, lengths of key and value.
const minOldLength = 4 + 1 + 1 + 4 + 4

// OldSize is the size of the message in an old format that head, its first 17 bytes or more, may be the begin of; 0 when it is none.
func OldSize(head []byte) int {
	if len(head) < prefixSize || head[posMagic] > 1 {
		return 0
	}
	length := int64(binary.BigEndian.Uint32(head[posLength:]))
	if length < minOldLength || length > 1<<30 {
		return 0
	}
	return int(length) + LogOverhead
}

// IsOld tells whether a message of the size that OldSize told is one: its checksum fits.
func IsOld(message []byte) bool {
	n := OldSize(message)
	return n > 0 && n == len(message) && binary.BigEndian.Uint32(message[12:]) == crc32.ChecksumIEEE(message[posMagic:])
}
