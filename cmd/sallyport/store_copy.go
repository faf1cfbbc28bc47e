package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"sallyport/backup"
	"sallyport/disk"
	"sallyport/store"
)

func storeCopyCommand() *cobra.Command {
	var from, to string
	c := &cobra.Command{
		Use:   "copy",
		Short: "Copy a store to another place; no server may use either",
		Long: "Copy a store to another place; no server may use either. The copy has everything, unlike a backup: sessions, private keys and\n" +
			"certificates too, and it goes on where the store ended. So it is for a move, after which only one of the two is used. Its records\n" +
			"are counted and compared by their SHA-256 with those of the store, which stays as it is.\n\n" +
			"A place is bolt:PATH, where PATH is the data file, which `store.bolt.path` names in the configuration, or postgres:FILE, where FILE\n" +
			"has the connection URL of the database, as `store.postgres.url_file` does. The configuration is not read.\n\n" +
			"If the command is interrupted, the copy is not finished, and nothing opens it: run the same command again, which goes on, also if\n" +
			"the store has changed since. Any other store that has records already is refused as the target, and stays as it is.",
		Example: "  sallyport store copy --from bolt:data/sallyport.db --to bolt:/srv/sallyport/sallyport.db\n" +
			"  sallyport store copy --from bolt:data/sallyport.db --to postgres:secrets/postgres",
		Annotations: exits(exitError, "an error, which standard error describes; there is no finished copy then"),
		Args:        cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			source, err := parsePlace(from)
			if err != nil {
				return fmt.Errorf("--from: %w", err)
			}
			target, err := parsePlace(to)
			if err != nil {
				return fmt.Errorf("--to: %w", err)
			}
			done, err := copyStore(cmd.Context(), source, target)
			if err != nil {
				return fmt.Errorf("copying %s to %s: %w", source, target, err)
			}
			return printCopied(cmd, done, target)
		},
	}
	c.Flags().StringVar(&from, "from", "", "the store to copy: bolt:`PATH` or postgres:FILE")
	c.Flags().StringVar(&to, "to", "", "where to copy it: bolt:`PATH` or postgres:FILE, a file or database without a store, or a copy to go on with")
	for _, name := range []string{"from", "to"} {
		_ = c.MarkFlagRequired(name)
		_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions([]string{"bolt:", "postgres:"}, cobra.ShellCompDirectiveNoSpace|cobra.ShellCompDirectiveNoFileComp))
	}
	addOutputFlag(c)
	return c
}

// place is where a store is, in the words of its engine.
type place interface {
	String() string // as a flag names it, from any folder
	advice() string // the value of `store` in the configuration of a server that uses it
	// same reports whether both are known to be the same store.
	same(other place) bool
	// lock keeps others from putting something else here, until release is called.
	lock(ctx context.Context) (release func(), err error)
	// read opens the store that is to be copied, and changes nothing. It demands that nothing else uses it, and that it has every
	// change that was acknowledged.
	read(ctx context.Context) (store.Store, error)
	// look opens what is there to read it, even an unfinished copy; nil: nothing is there.
	look(ctx context.Context) (store.Store, error)
	// write opens the store to copy records into it, whose revisions come after a revision. If nothing was there, it is made with
	// the mark of an unfinished copy.
	write(ctx context.Context, after store.Revision, mark store.Unfinished) (store.Store, error)
	// err returns an error if others may have used the store since lock or read.
	err(ctx context.Context) error
	// finish opens the closed store as a server would, and closes it again.
	finish(ctx context.Context) error
}

// parsePlace reads the value of a flag. Its errors do not have what follows the engine: of a database it may be a password.
func parsePlace(text string) (place, error) {
	engine, rest, ok := strings.Cut(text, ":")
	switch {
	case !ok:
		return nil, errors.New("the engine is missing; write bolt:PATH or postgres:FILE")
	case engine == "postgresql":
		return nil, errURLInFlag
	case engine != "bolt" && engine != "postgres":
		return nil, errors.New("there is no such engine; write bolt:PATH or postgres:FILE")
	case rest == "":
		return nil, errors.New("the path is missing; write bolt:PATH or postgres:FILE")
	case engine == "postgres":
		return newPostgresPlace(rest)
	case strings.HasPrefix(rest, "//"):
		return nil, errors.New("a path is no URL; write bolt:PATH without //")
	}
	return newBoltPlace(rest)
}

// storeCopied is what a copy prints for programs.
type storeCopied struct {
	From     string         `json:"from"`
	To       string         `json:"to"`
	Records  uint64         `json:"records"`
	SHA256   string         `json:"sha256"`
	Revision store.Revision `json:"revision"` // of the copy
	Resumed  bool           `json:"resumed"`  // a call before had begun it, or finished it
}

// copyStore copies a store to another place.
func copyStore(ctx context.Context, from, to place) (done storeCopied, err error) {
	done = storeCopied{From: from.String(), To: to.String()}
	if from.same(to) {
		return done, errors.New("both are the same store; name another place with --to")
	}
	release, err := to.lock(ctx)
	if err != nil {
		return done, err
	}
	defer release()
	source, err := from.read(ctx)
	if err != nil {
		return done, err
	}
	err = source.View(ctx, func(r store.Reader) error {
		copied, resumed, err := copyRecords(ctx, r, to, store.Unfinished{From: from.String(), To: to.String()}, from.err)
		done.Records, done.SHA256, done.Revision, done.Resumed = copied.Records, fmt.Sprintf("%x", copied.SHA256), copied.Revision, resumed
		return err
	})
	if errors.Is(err, store.ErrDamaged) {
		err = fmt.Errorf("%w; `sallyport store check` with the server stopped names every damaged record", err)
	}
	return done, errors.Join(err, source.Close())
}

// copyRecords copies what a reader of the source reads to a place, and demands at the end that unchanged returns nil. It
// reports whether that had begun before.
func copyRecords(ctx context.Context, from store.Reader, to place, mark store.Unfinished, unchanged func(context.Context) error) (done backup.Copied, resumed bool, err error) {
	copying, err := backup.NewCopying(ctx, from, mark)
	if err != nil {
		return done, false, err
	}
	copying.Confirm(func(ctx context.Context) error { return errors.Join(unchanged(ctx), to.err(ctx)) })
	resumed, finished, err := lookAt(ctx, copying, to)
	if err != nil {
		return done, false, err
	}
	if finished != nil { // the command was killed after the last change
		return *finished, true, to.finish(ctx)
	}
	target, err := to.write(ctx, from.Revision(), mark)
	if err != nil {
		return done, false, explainFull(err)
	}
	done, err = copying.Copy(ctx, target)
	if err := errors.Join(err, target.Close()); err != nil {
		return done, false, fmt.Errorf("%w; the copy is not finished: run the same command again, or remove it", explainFull(err))
	}
	return done, resumed, explainFull(to.finish(ctx))
}

func explainFull(err error) error {
	if disk.IsFull(err) || errors.Is(err, store.ErrFull) {
		return fmt.Errorf("the disk of the copy is full (%w): free some space there", err)
	}
	return err
}

// lookAt demands that a place can become the copy. It reports whether an unfinished copy is there already.
func lookAt(ctx context.Context, copying *backup.Copying, to place) (begun bool, finished *backup.Copied, err error) {
	present, err := to.look(ctx)
	if err != nil || present == nil {
		return false, nil, err
	}
	finished, err = copying.Look(ctx, present)
	switch {
	case errors.Is(err, backup.ErrNotEmpty):
		err = fmt.Errorf("the target is not empty (%w); nothing was changed: name another place with --to", err)
	case errors.Is(err, backup.ErrCopyOfAnother):
		err = fmt.Errorf("the target cannot be used: %w; nothing was changed: go on with that copy, remove it, or name another place with --to", err)
	case err == nil:
		begun, err = hasKey(present, store.UnfinishedKey)
	}
	return begun, finished, errors.Join(err, present.Close())
}

func printCopied(cmd *cobra.Command, done storeCopied, target place) error {
	text := fmt.Sprintf("copied %d records from %s to %s, SHA-256 %s\n"+
		"the copy is at revision %d, and was compared with the store, which is as it was\n"+
		"write `store: {%s}` in the configuration, run `sallyport store check`, and start the server\n"+
		"then keep any server from starting with the old store, and guard or remove it: it has sessions and private keys",
		done.Records, done.From, done.To, done.SHA256, done.Revision, target.advice())
	return printFacts(cmd, printableLines(text), table{heads: []string{"from", "to", "records", "sha256", "revision", "resumed"},
		rows: [][]string{{done.From, done.To, strconv.FormatUint(done.Records, 10), done.SHA256,
			strconv.FormatUint(uint64(done.Revision), 10), strconv.FormatBool(done.Resumed)}}, values: done})
}
