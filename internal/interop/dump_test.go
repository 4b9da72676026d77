package main

import "testing"

const soundDump = `Dumping d/a-0/00000000000000000000.log
Log starting offset: 0
baseOffset: 0 lastOffset: 1 count: 2 baseSequence: 0 lastSequence: 1 producerId: 4 producerEpoch: 0 partitionLeaderEpoch: 0 isTransactional: false isControl: false deleteHorizonMs: OptionalLong.empty position: 0 CreateTime: 17 size: 95 magic: 2 compresscodec: zstd crc: 1225433423 isvalid: true
| offset: 0 CreateTime: 17 keySize: 1 valueSize: 2 sequence: 0 headerKeys: [h] key: k payload: vv
| offset: 1 CreateTime: 17 keySize: 4 valueSize: 6 sequence: -1 headerKeys: [] endTxnMarker: COMMIT coordinatorEpoch: 0
Dumping d/a-0/00000000000000000000.index
offset: 1 position: 95
`

func TestParseDump(t *testing.T) {
	d := parseDump(soundDump)
	if err := disagreement(d.complaints); err != nil {
		t.Fatal(err)
	}
	if d.files != 2 || d.markers != 1 || d.codecs["zstd"] != 1 || d.entries[".index"] != 1 {
		t.Fatalf("%+v", d)
	}
	want := []string{"| offset: 0 CreateTime: 17 keySize: 1 valueSize: 2 headerKeys: [h] key: k payload: vv"}
	if s := firstDifference(want, d.records["a-0"]); s != "" {
		t.Fatal(s)
	}
}

func TestParseDumpComplains(t *testing.T) {
	for _, line := range []string{
		"baseOffset: 0 lastOffset: 1 count: 2 size: 95 magic: 2 compresscodec: zstd crc: 1225433423 isvalid: false",
		"Found 12 invalid bytes at the end of 00000000000000000000.log",
		"Mismatches in :d/a-0/00000000000000000000.index",
		"  Index offset: 9, log offset: 8",
	} {
		if d := parseDump(soundDump + line + "\n"); len(d.complaints) != 1 {
			t.Errorf("%q passed", line)
		}
	}
}
