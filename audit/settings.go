// Package audit keeps the record of every request that was allowed, denied or cut
// and of every change: one JSON line for each event, chained to the line before by
// its SHA-256.
//
// An event is written before the action that it records, and an action whose event
// cannot be written must not be taken. After a failed write the log refuses every
// event until [Log.Run] has made the file whole again.
package audit

// Settings is the audit node of the configuration.
type Settings struct {
	File string `yaml:"file" kind:"file" doc:"where the audit record is written, as JSON lines"`
}

// Defaults returns the settings of an absent node.
func Defaults() Settings { return Settings{File: "data/audit.jsonl"} }

// Check reports every fault of s.
func (s Settings) Check(fault func(path, problem string)) {
	if s.File == "" {
		fault("file", "is empty; write a path such as data/audit.jsonl")
	}
}
