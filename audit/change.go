package audit

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"time"
)

// What the detail of a directory change of a replica has, so that a change that is in no record of any replica is noticed.
const (
	DetailFormer        = "former"         // the revision of the change that was recorded before, by whichever replica
	DetailFormerReplica = "former_replica" // the replica that made that change
	DetailRecordedFor   = "recorded_for"   // the lost replica that made the change, if another one recorded it
	DetailDoubt         = "doubt"          // why the change may be in another record, too
)

// Change is a line that tells of a change of the directory.
type Change struct {
	Revision      uint64
	Replica       string // whose record the line is in
	For           string // the replica that made the change, if that is another one
	Former        uint64 // the revision of the change before; 0 if none is named
	FormerReplica string // that made it
	Doubt         bool
	Line          uint64
	Time          time.Time
}

// addChange adds the change that a line tells of, if it does.
func (s *segment) addChange(line []byte) {
	var l Line
	if json.Unmarshal(line, &l) != nil || l.Revision == 0 {
		return
	}
	c := Change{Revision: l.Revision, Replica: l.Replica, For: l.Detail[DetailRecordedFor], FormerReplica: l.Detail[DetailFormerReplica],
		Doubt: l.Detail[DetailDoubt] != "", Line: l.Seq, Time: l.Time}
	c.Former, _ = strconv.ParseUint(l.Detail[DetailFormer], 10, 64) // 0 if there is none
	s.changes = append(s.changes, c)
}

// Twice is a change that two lines tell of.
type Twice struct {
	Revision uint64   `json:"revision"`
	Replicas []string `json:"replicas"` // whose records have it
	Doubt    bool     `json:"doubt"`    // one of the lines says that this may be
}

// Why a change is in none of the records.
const (
	MissingRecord = "record_missing" // the record of the replica that made it is not among them
	MissingBefore = "before"         // it was made before that record begins
	MissingAfter  = "after"          // it was made after that record ends
	MissingLine   = "line_missing"   // that record has changes before and after it
)

// Missing is a change that is in none of the records.
type Missing struct {
	Revision uint64 `json:"revision"`
	Replica  string `json:"replica"` // that made it
	Why      string `json:"why"`
}

// Unsound reports whether a record or a line is missing. Otherwise the records do not go as far back, or as far ahead.
func (m Missing) Unsound() bool { return m.Why == MissingRecord || m.Why == MissingLine }

// Compared is what the records of several replicas say together.
type Compared struct {
	Changes int       `json:"changes"` // how many changes of the directory they tell of
	Twice   []Twice   `json:"twice"`
	Missing []Missing `json:"missing"`
}

// clockSlack is by how much the clocks of replicas may differ.
const clockSlack = time.Minute

// CompareChanges finds the changes of the directory that are missing in the records of replicas, or in two of them. Each
// change names the one before; of several that one missing record has in a row, the last is found.
func CompareChanges(records map[string]Checked) Compared {
	lines := map[uint64][]Change{}
	for _, r := range records {
		for _, c := range r.Changes {
			lines[c.Revision] = append(lines[c.Revision], c)
		}
	}
	found := Compared{Changes: len(lines), Twice: []Twice{}, Missing: []Missing{}}
	for revision, same := range lines {
		if len(same) > 1 {
			found.Twice = append(found.Twice, twice(revision, same))
		}
		for _, c := range same {
			if c.Former > 0 && lines[c.Former] == nil {
				found.Missing = append(found.Missing, Missing{c.Former, c.FormerReplica, whyMissing(c, records)})
			}
		}
	}
	slices.SortFunc(found.Twice, func(a, b Twice) int { return cmp.Compare(a.Revision, b.Revision) })
	slices.SortFunc(found.Missing, func(a, b Missing) int { return cmp.Compare(a.Revision, b.Revision) })
	found.Missing = slices.Compact(found.Missing)
	return found
}

func twice(revision uint64, same []Change) Twice {
	t := Twice{Revision: revision}
	doubts := 0
	for _, c := range same {
		t.Replicas = append(t.Replicas, c.Replica)
		if c.Doubt {
			doubts++
		}
	}
	slices.Sort(t.Replicas)
	t.Doubt = doubts >= len(same)-1
	return t
}

// whyMissing says why the change before c may be in none of the records.
func whyMissing(c Change, records map[string]Checked) string {
	r, ok := records[c.FormerReplica]
	later := slices.ContainsFunc(r.Changes, func(own Change) bool { return own.Revision > c.Former && own.For == "" })
	switch {
	case !ok:
		return MissingRecord
	case r.First > 1 && c.Time.Before(r.Begins.Add(clockSlack)):
		return MissingBefore
	case !later && !c.Time.Before(r.Ends.Add(-clockSlack)):
		return MissingAfter
	}
	return MissingLine
}
