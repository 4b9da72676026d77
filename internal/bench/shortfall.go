package main

// What profiles show where a target is missed. Printed only beside a miss; each says where the time goes, not why that would be fine.
const (
	shortP1  = ""
	shortP2  = ""
	shortP3  = ""
	shortP4  = ""
	shortP5  = ""
	shortP6  = ""
	shortP7  = ""
	shortP8  = ""
	shortP9  = ""
	shortP10 = ""
	shortP11 = ""
	shortP12 = ""
	shortP13 = ""
)
