// Package errjson encodes structs that hold errors as JSON: an object under the names of the fields, those of embedded structs among them, in
// which an error is its text or null. What was decoded has errors with these texts and no more.
//
//	func (f Fault) MarshalJSON() ([]byte, error)     { return errjson.Marshal(f) }
//	func (f *Fault) UnmarshalJSON(data []byte) error { return errjson.Unmarshal(data, f) }
//
// Only fields of the types error and []error become texts, not those of structs within, which have methods of their own. An empty []error is
// [], and nil when it was decoded. The functions may be called at once; their errors are package json's.
package errjson
