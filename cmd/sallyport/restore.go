package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/backup"
	"sallyport/config"
	"sallyport/directory"
	"sallyport/disk"
	"sallyport/store"
	"sallyport/store/bolt"
	"sallyport/store/postgres"
)

func restoreCommand() *cobra.Command {
	var options restoreOptions
	c := &cobra.Command{
		Use:   "restore FILE",
		Short: "Put a backup in the place of the store; the server must be stopped",
		Long: "Put a backup in the place of the store; the server must be stopped, and with a database every replica. The backup is checked\n" +
			"first, the store that was there is kept beside it, in a database in a schema of its own, and the audit record goes on. Users, groups and memberships are those of the backup. What took access away since\n" +
			"holds, as far as the store that is replaced and the audit record know it: nobody is signed in, no grant is open, revoked tokens\n" +
			"and suspended users stay so, and users who were deactivated or deleted since are inactive. Let the identity provider provision\n" +
			"anew afterwards: it makes active who is active, and pushes what is missing.\n\n" +
			"--dry-run says what would change, also while the server runs, and changes nothing.",
		Example: "  sallyport restore --dry-run sallyport-2026-11-29.backup\n" +
			"  sallyport restore --identity-file key.txt sallyport-2026-11-29.age",
		Annotations: exits(exitError, "an error, which standard error describes; nothing was changed"),
		Args:        cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := config.Load(configPath(cmd))
			if err != nil {
				return err
			}
			options.from = args[0]
			if options.dryRun {
				err = tryRestore(cmd, file, options)
			} else {
				err = runRestore(cmd, file, options)
			}
			if err != nil {
				return fmt.Errorf("restoring %s: %w", args[0], err)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&options.dryRun, "dry-run", false, "say what would change, and change nothing")
	c.Flags().StringVar(&options.identities, "identity-file", "", "decrypt the backup with the age identities in `FILE`")
	c.Flags().BoolVar(&options.reactivate, "reactivate", false, "have users active again who were deactivated or deleted since the backup was made")
	c.Flags().StringArrayVar(&options.records, "record", nil, "read the audit record of another replica in `FILE` too; may be repeated")
	c.Flags().BoolVar(&options.tokens, "tokens", false, "use the provisioning tokens of the backup, if neither the former store nor the audit record says which were revoked since")
	addOutputFlag(c)
	return c
}

// restoreOptions say what to restore, and how.
type restoreOptions struct {
	from, identities           string
	dryRun, reactivate, tokens bool
	records                    []string // audit records of other replicas
}

func runRestore(cmd *cobra.Command, file *config.File, options restoreOptions) error {
	unlock, err := lockRecord(file)
	if err != nil {
		return stopFirst(err)
	}
	defer unlock()
	place := newRestorePlace(file)
	release, err := place.lock(cmd.Context())
	if err != nil {
		return err
	}
	defer release()
	done, err := restore(cmd.Context(), file, place, options)
	if err != nil {
		return err
	}
	for _, note := range done.notes {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: %s\n", printable(note))
	}
	out, where := cmd.OutOrStdout(), file.Store.String()
	if format, _ := cmd.Flags().GetString("output"); format != "table" {
		return printTable(cmd, table{heads: []string{"file", "store", "former"}, rows: [][]string{{options.from, where, done.former}},
			values: restoreResult{options.from, where, done.former, append([]string{}, done.notes...)}})
	}
	fmt.Fprintf(out, "restored %s to %s\n", options.from, where)
	if done.former != "" {
		fmt.Fprintf(out, "the former store is %s\n", done.former)
	}
	fmt.Fprintln(out, "start the server, and let the identity provider provision anew before you trust the directory")
	return nil
}

// restoreResult is what a restore prints for programs.
type restoreResult struct {
	File   string   `json:"file"`
	Store  string   `json:"store"`
	Former string   `json:"former,omitempty"` // where the former store is
	Notes  []string `json:"notes"`
}

// restored is what came of a restore.
type restored struct {
	former string   // where the former store is; "" if there was none
	notes  []string // what the operator must know
}

// restore makes a store of a backup beside the one in place, whole, and then puts it there in one step. What is there before
// and after that step is a store that can be served from; a server that starts right after it finds the event in the store.
func restore(ctx context.Context, file *config.File, place restorePlace, options restoreOptions) (done restored, err error) {
	former, notes, err := place.former(ctx)
	if err != nil {
		return done, err
	}
	defer former.close()
	part := place.part()
	clean := func() { _, _ = os.Remove(part), os.Remove(part+".pid") }
	clean() // of a restore that was interrupted
	defer clean()
	after, err := place.after(ctx, former)
	if err != nil {
		return done, err
	}
	made, err := makeRestored(ctx, part, former.store, file, options, after)
	if err != nil {
		return done, err
	}
	record, err := audit.Open(file.Audit.File)
	if err != nil {
		return done, errors.Join(fmt.Errorf("opening the audit record: %w", err), made.store.Close())
	}
	defer func() { err = errors.Join(err, record.Close()) }()
	notes = append(notes, made.notes...)
	if err := recordFormer(ctx, former.store, record); err != nil {
		notes = append(notes, fmt.Sprintf("changes of the former store may be missing in the audit record: %v", err))
	}
	operator := admin.Operator(systemUserName(os.Getuid()), "command line")
	event, revision, err := made.finish(ctx, operator, record.LastRevision())
	if err != nil {
		return done, err
	}
	if done.former, err = place.put(ctx); err != nil {
		return done, err
	}
	err = errors.Join(record.Append(event, uint64(revision)), disk.OwnAs(file.Audit.File, place.like()))
	done.notes = notes
	return done, err
}

// recordFormer records the changes in the former store that a server which was killed had not recorded yet.
func recordFormer(ctx context.Context, former store.Store, record *audit.Log) error {
	if former == nil {
		return nil
	}
	return former.View(ctx, func(r store.Reader) error {
		for rec, err := range directory.RecordsAfter(r, record.LastRevision()) {
			if err == nil && rec.Replica == "" { // what a replica made is below, unless it is recorded
				err = record.Append(rec.Event, rec.Revision)
			}
			if err != nil {
				return err
			}
		}
		return recordUnrecorded(ctx, former, r, record)
	})
}

// recordUnrecorded records what the replicas that used the former store had not recorded yet, as far as that is known.
func recordUnrecorded(ctx context.Context, former store.Store, r store.Reader, record *audit.Log) error {
	names, err := directory.UnrecordedReplicas(r)
	if err != nil {
		return err
	}
	writer := &recorder{record: record, written: map[uint64]uint64{}}
	for _, name := range names {
		left, err := directory.ReadUnrecorded(ctx, former, name, 0, math.MaxInt)
		if err != nil {
			return err
		}
		of, err := readReplica(r, name)
		for _, rec := range left {
			if rec.For == "" {
				rec.For = name
			}
			rec.Doubt = rec.Doubt || err != nil || !of.Closed
			if err := writer.append(rec); err != nil {
				return err
			}
		}
	}
	return nil
}

// restoredStore is a store that was made of a backup, and is not in place yet.
type restoredStore struct {
	path    string
	store   *bolt.Store
	source  backup.Header
	changes restoreChanges
	notes   []string
	newest  uint64 // the newest revision that the records of other replicas name
}

// makeRestored makes a store at path of the backup that options name: without what must not come back, and with what took
// access away in the former store and by the audit record. Its revisions come after a revision.
func makeRestored(ctx context.Context, path string, former store.Store, file *config.File, options restoreOptions, after store.Revision) (made *restoredStore, err error) {
	source, err := openBackup(options)
	if err != nil {
		return nil, err
	}
	defer source.close()
	st, err := bolt.Open(path, bolt.Options{Init: true, Copy: true})
	if err != nil {
		return nil, err
	}
	made = &restoredStore{path: path, store: st, source: source.header}
	defer func() {
		if err != nil {
			err = errors.Join(err, st.Close())
		}
	}()
	st.Continue(max(after, store.Revision(source.header.Revision)))
	unknown := 0
	if err := source.load(ctx, st, func([]byte) { unknown++ }); err != nil {
		return nil, err
	}
	if unknown > 0 {
		made.notes = append(made.notes, fmt.Sprintf("the backup has %d records that this version does not know; they are left out", unknown))
	}
	if err := st.Check(ctx); err != nil {
		return nil, err
	}
	since, err := readSince(ctx, file.Audit.File, options.records, source.header.Made)
	if err != nil {
		return nil, err
	}
	if err := made.deny(ctx, former, since, file, options); err != nil {
		return nil, err
	}
	found, err := inspect(ctx, st)
	if err == nil && found.Count > 0 {
		made.notes = append(made.notes, fmt.Sprintf("%d records of the backup are not as they should be, and whom they are about may be denied; the first: %s", found.Count, found.Faults[0]))
	}
	return made, err
}

// finish commits the event that the store was restored, and closes the file.
func (m *restoredStore) finish(ctx context.Context, actor admin.Actor, recorded uint64) (event []byte, revision store.Revision, err error) {
	m.store.Continue(store.Revision(max(recorded, m.newest)))
	detail := map[string]string{"recorded": strconv.FormatUint(recorded, 10), "made": m.source.Made.Format(time.RFC3339Nano)}
	if m.source.Made.IsZero() {
		delete(detail, "made")
	}
	maps.Copy(detail, m.changes.detail())
	n := resumption{made: m.source.Made, event: audit.Event{Kind: audit.KindStore, Actor: actor, Reason: reasonRestored, Detail: detail}}
	event, revision, err = n.commit(ctx, m.store)
	return event, revision, errors.Join(err, m.store.Close())
}

// source is an open backup.
type source struct {
	header backup.Header
	load   func(ctx context.Context, to store.Store, unknown func([]byte)) error
	close  func()
}

// openBackup opens the backup that options name: a stream, or a copy that an earlier version made, which is a store.
func openBackup(options restoreOptions) (source, error) {
	identities, err := readIdentities(options.identities)
	if err != nil {
		return source{}, err
	}
	f, err := os.Open(options.from)
	if err != nil {
		return source{}, err
	}
	content, err := backup.Decrypt(f, identities)
	if err != nil {
		return source{}, errors.Join(err, f.Close())
	}
	r, err := backup.NewReader(content)
	switch {
	case errors.Is(err, backup.ErrNotBackup) && len(identities) == 0:
		former, failed := openFormerCopy(options.from)
		return former, errors.Join(failed, f.Close())
	case err != nil:
		return source{}, errors.Join(err, f.Close())
	}
	load := func(ctx context.Context, to store.Store, unknown func([]byte)) error {
		return backup.Load(ctx, to, heldByBackup(r.Records(), unknown))
	}
	return source{r.Header(), load, func() { _ = f.Close() }}, nil
}

func readIdentities(path string) ([]age.Identity, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--identity-file: %w", err)
	}
	defer f.Close()
	identities, err := backup.ParseIdentities(f)
	if err != nil {
		return nil, fmt.Errorf("--identity-file %s: %w", path, err)
	}
	return identities, nil
}

// openFormerCopy opens a copy that an earlier version of `backup` made, or a copy of the file of a stopped server.
func openFormerCopy(path string) (source, error) {
	if err := bolt.CheckFile(path); err != nil {
		return source{}, fmt.Errorf("%w; name a file that `sallyport backup` wrote, or a copy of the data file of a stopped server", backup.ErrNotBackup)
	}
	st, err := bolt.Open(path, bolt.Options{Inspect: true})
	if errors.Is(err, store.ErrMissing) {
		return source{}, fmt.Errorf("%w: the file is empty", backup.ErrNotBackup)
	}
	if err != nil {
		return source{}, err
	}
	s := source{close: func() { _ = st.Close() }}
	s.header.Made, err = copyMade(context.Background(), st)
	if err == nil {
		err = st.View(context.Background(), func(r store.Reader) error { s.header.Revision = uint64(r.Revision()); return nil })
	}
	if err == nil {
		err = st.Check(context.Background())
	}
	if err != nil {
		return source{}, errors.Join(err, st.Close())
	}
	s.load = func(ctx context.Context, to store.Store, unknown func([]byte)) error {
		return st.View(ctx, func(r store.Reader) error { return backup.Load(ctx, to, heldByBackup(r.Scan(nil, nil), unknown)) })
	}
	return s, nil
}

// goOn resumes the store, which may be behind, in the name of the operator. Nobody else uses it.
func goOn(ctx context.Context, file *config.File, reason string) (err error) {
	var st engine
	like := filepath.Dir(file.Audit.File)
	if file.Store.Postgres != nil {
		hold, failed := postgres.TakeHold(ctx, file.Store.Postgres.URLFile, postgres.ToWrite)
		if failed != nil {
			return stopFirst(failed)
		}
		defer hold.Release()
		st, err = openStore(ctx, file.Store, false, nil)
	} else {
		like = file.Store.Bolt.Path
		st, err = asEngine(bolt.Open(file.Store.Bolt.Path, bolt.Options{Behind: true}))
	}
	if err != nil {
		return err
	}
	record, err := audit.Open(file.Audit.File)
	if err != nil {
		return errors.Join(fmt.Errorf("opening the audit record: %w", err), st.Close())
	}
	operator := admin.Operator(systemUserName(os.Getuid()), "command line")
	return errors.Join(resumeStore(ctx, st, record, operator, reason), disk.OwnAs(file.Audit.File, like), record.Close(), st.Close())
}
