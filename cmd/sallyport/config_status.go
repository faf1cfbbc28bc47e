package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sallyport/admin"
)

// configurations is the body of the response to which configuration is in force.
type configurations struct {
	Replicas []admin.Configuration `json:"replicas"`
	Missing  []admin.Missing       `json:"missing,omitempty"` // replicas that did not reply
}

func (c *control) configurations(ctx context.Context, actor admin.Actor) (configurations, error) {
	all, missing, err := c.admin.Configurations(ctx, actor)
	return configurations{all, missing}, err
}

func configStatusCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "Say which configuration is in force, since when and by whom, and what of the file is not",
		Long: "Say which configuration is in force in the running server, or in each replica: the file with its SHA-256, since when and by whom, whether\n" +
			"the file on disk differs, why a newer one was refused, and what needs a restart. With -o json also the content, of which only what is\n" +
			"known to be no secret is left, and the lines that differ. Exits with 2 if a newer file was refused, or if something needs a restart.",
		Example:     "  sallyport config status",
		Annotations: exits(exitDenied, "a newer file was refused, or something needs a restart"),
		Args:        cobra.NoArgs,
	}
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		var all configurations
		if err := callGet(cmd, "/configuration", &all); err != nil {
			return err
		}
		for _, m := range all.Missing {
			fmt.Fprintf(cmd.ErrOrStderr(), "note: without %s: %s\n", printable(m.Replica), printable(m.Why))
		}
		t, unsound := table{heads: []string{"replica", "file", "sha256", "since", "by", "on_disk", "refused", "need_restart"}, values: all}, 0
		for _, one := range all.Replicas {
			if one.Refused != nil || len(one.Restart) > 0 {
				unsound++
			}
			t.rows = append(t.rows, configurationRow(one))
		}
		if err := printTable(cmd, t); err != nil {
			return err
		}
		if unsound > 0 {
			return fmt.Errorf("%w: not all of the file is in force", errDenied)
		}
		return nil
	}
	return c
}

func configurationRow(c admin.Configuration) []string {
	onDisk := "differs"
	if c.Same() {
		onDisk = "same"
	} else if c.OnDisk.Err != "" {
		onDisk = c.OnDisk.Err
	}
	refused := ""
	if r := c.Refused; r != nil {
		refused = r.Time.UTC().Format(time.RFC3339) + ": " + r.Err
		if len(r.Faults) > 0 {
			refused += fmt.Sprintf("mistakes: %d, the first in line %d", len(r.Faults), r.Faults[0].Line)
		}
	}
	return []string{c.Replica, c.Path, c.SHA256, c.Since.UTC().Format(time.RFC3339), strings.TrimSpace(string(c.By.Kind) + " " + c.By.Name), onDisk, refused, strings.Join(c.Restart, ", ")}
}
