// Package wire is Apache Kafka's message encoding, for what is stored in internal topics and passed between members of a group. A [Decoder]
// reads what an [Encoder] wrote, field by field; flexible versions (KIP-482) differ in lengths and tagged fields.
package wire
