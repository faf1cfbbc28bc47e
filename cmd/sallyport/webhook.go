package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"sallyport/admin"
	"sallyport/webhook"
)

func webhookCommand() *cobra.Command {
	c := &cobra.Command{Use: "webhook", Short: "Try the webhooks, which tell other programs of events"}
	c.AddCommand(webhookTestCommand())
	return c
}

func webhookTestCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "test [NAME]",
		Short: "Send a test event to one webhook, or to all, and say what came back",
		Long: "Send an event of the type test to one webhook, or to all, once, and say what came back. NAME is the webhook's name in the configuration,\n" +
			"or the host of its URL if it has none. The running server sends, by the settings in force. Exits with 1 if an event is not delivered.",
		Example:     "  sallyport webhook test siem",
		Annotations: exits(exitError, "an error, or an event was not delivered"),
		Args:        cobra.MaximumNArgs(1),
	}
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := newControlClient(cmd)
		if err != nil {
			return err
		}
		var ask webhookTest
		if len(args) > 0 {
			ask.Name = args[0]
		}
		var results []webhook.Result
		if err := client.call(cmd.Context(), http.MethodPost, "/webhooks/test", ask, &results); err != nil {
			return err
		}
		if err := printTable(cmd, webhookTable(results)); err != nil {
			return err
		}
		return undelivered(results)
	}
	return c
}

func webhookTable(results []webhook.Result) table {
	t := table{heads: []string{"webhook", "delivered", "took", "detail"}, values: results}
	for _, r := range results {
		t.rows = append(t.rows, []string{r.Name, strconv.FormatBool(r.Delivered), r.Took.Round(time.Millisecond).String(), r.Detail})
	}
	return t
}

// undelivered returns an error that counts the tests that failed; nil if none did.
func undelivered(results []webhook.Result) error {
	failed := 0
	for _, r := range results {
		if !r.Delivered {
			failed++
		}
	}
	if failed == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d webhooks did not accept the event", failed, len(results))
}

// webhookTest names the webhook that is tested; empty: all.
type webhookTest struct {
	Name string `json:"name"`
}

func (c *control) testWebhooks(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	ask, err := decodeBody[webhookTest](r)
	if err != nil {
		return nil, err
	}
	c.log.Info("an operator tests the webhooks", "user", actor.Name, "webhook", ask.Name)
	return c.webhooks.Test(ctx, ask.Name)
}
