package main

import (
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

// listCommand returns a command that prints the list that GET path on the control socket returns, one row for each.
func listCommand[T any](use, short, example, path string, heads []string, row func(T) []string) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Example: "  sallyport " + example, Args: cobra.NoArgs}
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := newControlClient(cmd)
		if err != nil {
			return err
		}
		var items []T
		if err := client.call(cmd.Context(), http.MethodGet, path, nil, &items); err != nil {
			return err
		}
		t := table{heads: heads, values: items}
		for _, item := range items {
			t.rows = append(t.rows, row(item))
		}
		return printTable(cmd, t)
	}
	return c
}

// showCommand returns a command that prints what GET path on the control socket returns for one name.
func showCommand[T any](use, short, example, path string, heads []string, row func(T) []string) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Example: "  sallyport " + example, Args: cobra.ExactArgs(1)}
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := newControlClient(cmd)
		if err != nil {
			return err
		}
		var item T
		if err := client.call(cmd.Context(), http.MethodGet, path+url.PathEscape(args[0]), nil, &item); err != nil {
			return err
		}
		return printTable(cmd, table{heads: heads, rows: [][]string{row(item)}, values: item})
	}
	return c
}

// formatTime returns a time as text, or "never" for nil.
func formatTime(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}
