package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"sallyport/admin"
	"sallyport/config"
	"sallyport/demo"
)

func demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "demo",
		Short:   "Try Sallyport on this machine, with a company, its identity provider and three applications",
		Example: "  sallyport demo",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := os.MkdirTemp("", "sallyport-demo-")
			if err != nil {
				return err
			}
			err = runDemo(cmd, dir)
			if errors.Is(err, context.Canceled) {
				err = nil
			}
			return errors.Join(err, os.RemoveAll(dir))
		},
	}
}

// runDemo runs the demo's identity provider and applications, and the real server with a configuration file in dir.
func runDemo(cmd *cobra.Command, dir string) error {
	settings := demo.Defaults()
	settings.Folder = dir
	world, err := demo.New(settings)
	if err != nil {
		return err
	}
	if err := world.Listen(); err != nil {
		return err
	}
	path, err := writeDemoFiles(dir, world)
	if err != nil {
		return err
	}
	file, err := config.Load(path)
	if err != nil {
		return err
	}
	s, err := openServer(cmd.Context(), path, file, true, newSuccession("", nil), newLogger(cmd.ErrOrStderr(), config.Log{Level: "warn", Format: "text"}))
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(cmd.Context())
	g.Go(func() error { return world.Run(ctx) })
	g.Go(func() error { return s.Run(ctx, nil) })
	g.Go(func() error {
		return pushDemoUsers(ctx, cmd, world, path, &controlClient{installation{file: file}, cmd.ErrOrStderr()})
	})
	return g.Wait()
}

// writeDemoFiles writes the configuration and the secrets that it names, and returns the path of the configuration.
func writeDemoFiles(dir string, world *demo.Demo) (path string, err error) {
	files := map[string][]byte{"sallyport.yaml": world.Config()}
	for name, secret := range world.Secrets() {
		files[name] = []byte(secret)
	}
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return "", err
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return "", err
		}
	}
	return filepath.Join(dir, "sallyport.yaml"), nil
}

// pushDemoUsers waits until the server, whose configuration file is at path, is ready, and then has the identity provider
// push its users and groups.
func pushDemoUsers(ctx context.Context, cmd *cobra.Command, world *demo.Demo, path string, client *controlClient) error {
	if err := awaitReady(ctx, client.installation); err != nil {
		return err
	}
	var t admin.Token
	if err := client.call(ctx, http.MethodPost, "/tokens", newToken{Name: "demo"}, &t); err != nil {
		return err
	}
	if err := world.Connect("http://"+client.file.Listen.SCIM+"/scim/v2", string(t.Text), http.DefaultClient); err != nil {
		return fmt.Errorf("pushing the users of the demo: %w", err)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "Sallyport is ready. Open %s in a browser; stop with Ctrl-C.\n"+
		"Commands operate it from a second terminal: sallyport users list -c %s\n", world.URL(), path)
	return nil
}

// awaitReady returns once the server is ready.
func awaitReady(ctx context.Context, i installation) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i.checkReady(ctx) != nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}
