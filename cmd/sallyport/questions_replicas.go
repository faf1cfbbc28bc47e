package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sallyport/audit"
	"sallyport/store"
)

// addRecordFlag adds the flag that names the files of other replicas.
func addRecordFlag(c *cobra.Command) *[]string {
	return c.Flags().StringArray("file", nil, "a `FILE` of the record of another replica, on the machine of the server; may be repeated")
}

// absolutePaths returns paths as the server finds them.
func absolutePaths(paths []string) (all []string, err error) {
	for _, path := range paths {
		path, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		all = append(all, path)
	}
	return all, nil
}

// noteNotRead says which records were not read.
func noteNotRead(cmd *cobra.Command, replica string, notRead []string) {
	if len(notRead) > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: of %s alone, and not of %s: name the files of the others with --file\n", printable(replica), printable(strings.Join(notRead, ", ")))
	}
}

// openRecord opens the record of this server, and files of those of other replicas. The latter must be sound, and signed
// with a key of the store: the server tells what they say as if it had written them.
func (r recordReader) openRecord(ctx context.Context, files []string) (*audit.Record, error) {
	own, err := audit.OpenRecord(r.path)
	if err != nil || len(files) == 0 {
		return own, err
	}
	all, err := r.openOthers(ctx, own.Replica(), files)
	if err != nil {
		return nil, errors.Join(err, own.Close())
	}
	return audit.Join(append([]*audit.Record{own}, all...)...), nil
}

func (r recordReader) openOthers(ctx context.Context, own string, files []string) (others []*audit.Record, err error) {
	if own == "" {
		return nil, errors.New("this server alone uses its store, so that there are no records of other replicas")
	}
	known, err := readTrust(ctx, r.store, own)
	if err != nil {
		return nil, err
	}
	trust := audit.Trust{Signed: true}
	if err := trustKeys(&trust, known.Keys); err != nil {
		return nil, err
	}
	opened, err := audit.OpenFiles(files)
	if err != nil {
		return nil, err
	}
	for _, part := range opened.Parts() {
		if part.Replica() == own { // which is read as it is now
			continue
		}
		if part.Replica() == "" {
			err = fmt.Errorf("%s does not name a replica", strings.Join(part.Paths(), ", "))
		} else {
			_, err = part.Verify(withMark(trust, part, known.Marks[part.Replica()]))
		}
		if err != nil {
			return nil, errors.Join(err, opened.Close())
		}
		others = append(others, part)
	}
	return others, nil
}

// withMark adds to trust where a record ended last, if the files reach as far: they may have been copied before.
func withMark(trust audit.Trust, record *audit.Record, mark audit.Mark) audit.Trust {
	if span, err := record.Span(); err == nil && span.Last >= mark.Line {
		trust.Mark = mark
	}
	return trust
}

// unmarked is for how long a replica may write without a mark, and more.
const unmarked = 5 * time.Minute

// notRead returns the replicas that wrote a record since a time, of which record has nothing.
func (r recordReader) notRead(ctx context.Context, record *audit.Record, since time.Time) (names []string, err error) {
	if record.Parts()[0].Replica() == "" {
		return nil, nil
	}
	var running []string
	if l, ok := r.store.(living); ok {
		if running, err = l.Living(ctx); err != nil {
			return nil, err
		}
	}
	err = r.store.View(ctx, func(rows store.Reader) error {
		names = nil
		for e, err := range rows.Scan([]byte(replicaRecords), nil) {
			var one replicaRecord
			name := string(e.Key[len(replicaRecords):])
			if err != nil && !errors.Is(err, store.ErrDamaged) {
				return err
			}
			if err == nil && json.Unmarshal(e.Value, &one) == nil && !slices.Contains(running, name) && one.Marked.Add(unmarked).Before(since) {
				continue
			}
			if !slices.ContainsFunc(record.Parts(), func(p *audit.Record) bool { return p.Replica() == name }) {
				names = append(names, name)
			}
		}
		return nil
	})
	return names, err
}
