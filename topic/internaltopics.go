package topic

import "math"

// Names of internal topics that Kafka has too.
const (
	offsetsTopic      = "__consumer_offsets"
	shareStateTopic   = "__share_group_state"
	transactionsTopic = "__transaction_state"
)

// InternalSettings are the settings of a topic that an engine, or Kafka, keeps for itself; nil for all others. An internal topic is made with
// them by the program that keeps it, and has them when it is adopted and nothing else tells its settings.
func InternalSettings(name string) []TopicOption {
	switch name {
	case offsetsTopic:
		return []TopicOption{CleanupWith(CleanupCompact), SegmentBytes(100 << 20), MaxMessageBytes(math.MaxInt32 >> 5), Durable()}
	case transactionsTopic:
		return []TopicOption{CleanupWith(CleanupCompact), SegmentBytes(100 << 20), Durable()}
	case shareStateTopic:
		return []TopicOption{CleanupWith(CleanupDelete), Retention(-1), MaxMessageBytes(1<<20 + 12), Durable()}
	case DelayedTopic:
		return delayedSettings()
	case RecurringTopic:
		return append(delayedSettings(), Partitions(1))
	}
	return nil
}

// adoptedSettings are the stored settings of an adopted topic of which nothing tells the settings: none, so that it keeps everything, unless the
// engine knows what it is.
func adoptedSettings(name string) map[string]string { return gather(InternalSettings(name)).stored() }
