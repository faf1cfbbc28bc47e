package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"sallyport/audit"
)

// soundRecords is what verification says of the records of several replicas.
type soundRecords struct {
	Records []soundRecord `json:"records"`
	audit.Compared
}

// noteAlone says that a record is that of one of several replicas.
func noteAlone(cmd *cobra.Command, record *audit.Record) {
	if name := record.Replica(); name != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: of %s alone; give the files of all replicas to have what the others recorded, too\n", printable(name))
	}
}

// maxTold is how many changes are named for people.
const maxTold = 10

// err returns an error if a change is in two records that should be in one, or in none.
func (s soundRecords) err() error {
	var problems []string
	for _, t := range s.Twice {
		if !t.Doubt {
			problems = append(problems, fmt.Sprintf("the change of revision %d is recorded more than once, by %s", t.Revision, printable(strings.Join(t.Replicas, " and "))))
		}
	}
	for _, m := range s.Missing {
		if m.Unsound() {
			problems = append(problems, missingText(m))
		}
	}
	if len(problems) == 0 {
		return nil
	}
	if more := len(problems) - maxTold; more > 0 {
		problems = append(problems[:maxTold], fmt.Sprintf("and %d more", more))
	}
	return fmt.Errorf("%w: each record is sound, but not all of them together:\n%s", errDenied, strings.Join(problems, "\n"))
}

func missingText(m audit.Missing) string {
	who := printable(m.Replica)
	why := map[string]string{
		audit.MissingRecord: "the files of " + who + " are missing",
		audit.MissingLine:   "it should be in the record of " + who + ", of which a file may be missing",
		audit.MissingBefore: "it was made before the files of " + who + " begin",
		audit.MissingAfter:  "the files of " + who + " end before it: they were copied earlier than others, or it has not written it yet",
	}[m.Why]
	return fmt.Sprintf("the change of revision %d, which %s made, is in none of the files: %s", m.Revision, who, why)
}

// String returns the facts as lines for people.
func (s soundRecords) String() string {
	var lines []string
	var notes []string
	replicas := 0
	for _, r := range s.Records {
		lines = append(lines, r.String())
		if r.Replica != "" {
			replicas++
			continue
		}
		notes = append(notes, fmt.Sprintf("%s names no replica: nothing says that it belongs to the records of the others", strings.Join(r.Files, ", ")))
	}
	lines = append(lines, fmt.Sprintf("%d changes of the directory are in the records of %d replicas, each in one", s.Changes, replicas))
	for _, t := range s.Twice {
		notes = append(notes, fmt.Sprintf("the change of revision %d is recorded by %s: it was in doubt whether a replica that was lost had recorded it", t.Revision, printable(strings.Join(t.Replicas, " and "))))
	}
	for _, m := range s.Missing {
		notes = append(notes, missingText(m))
	}
	if more := len(notes) - maxTold; more > 0 {
		notes = append(notes[:maxTold], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(append(lines, notes...), "\n")
}
