package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"sallyport/config"
	"sallyport/importer"
)

func importCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "import",
		Short: "Write a configuration out of that of another proxy",
		Long: "Write a configuration out of that of another proxy, and say for each of its settings what became of it. What cannot be\n" +
			"expressed denies: nobody may do by the new configuration what they could not do by the old one.",
	}
	for _, source := range importer.Sources() {
		c.AddCommand(importSourceCommand(source))
	}
	return c
}

// sourceFiles says in which files people have the settings of a program.
var sourceFiles = map[importer.Source]string{
	importer.OAuth2Proxy: "FILE is its configuration (TOML, or the newer one in YAML), or a file with its flags or variables: a script, a unit of\n" +
		"systemd, a file of Compose, a manifest of Kubernetes, values of its chart.",
	importer.Pomerium:           "FILE is its config.yaml, or a file with its variables: of Compose, of Kubernetes, or lines of NAME=VALUE.",
	importer.TraefikForwardAuth: "FILE is its INI file, or a file with its flags or variables: a script, a unit of systemd, a file of Compose, a manifest of\nKubernetes.",
}

// importFlags are the flags of a command that imports.
type importFlags struct {
	to, secrets *string
}

func importSourceCommand(source importer.Source) *cobra.Command {
	c := &cobra.Command{
		Use:   string(source) + " FILE",
		Short: "Write a configuration out of one of " + string(source),
		Long: "Write a configuration out of one of " + string(source) + ". " + sourceFiles[source] + " With - it is read from standard input.\n\n" +
			"The configuration goes to standard output, and what became of each setting to standard error. Secrets are printed\n" +
			"nowhere: with --secrets they are written to files, each readable for you alone. No file is ever overwritten.",
		Example: fmt.Sprintf("  sallyport import %s old.conf --to sallyport.yaml --secrets secrets", source),
		Args:    cobra.ExactArgs(1),
	}
	addOutputFlag(c)
	c.Flags().Lookup("output").Usage = "`FORMAT` of what is said on standard error: table, json, yaml or csv"
	var f importFlags
	f.to = c.Flags().String("to", "", "write the configuration to this new `FILE`; otherwise to standard output")
	f.secrets = c.Flags().String("secrets", "", "write the secrets of the file to new files in this `FOLDER`")
	_ = c.RegisterFlagCompletionFunc("to", completeFiles)
	_ = c.RegisterFlagCompletionFunc("secrets", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveFilterDirs
	})
	c.RunE = func(cmd *cobra.Command, args []string) error { return runImport(cmd, source, args[0], f) }
	return c
}

func completeFiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

func runImport(cmd *cobra.Command, source importer.Source, path string, f importFlags) error {
	text, err := readImported(cmd.InOrStdin(), path)
	if err != nil {
		return err
	}
	folder, err := secretsFolder(*f.to, *f.secrets)
	if err != nil {
		return err
	}
	result, err := importer.Import(source, text, importer.Options{SecretsDir: folder})
	if errors.Is(err, importer.ErrNothing) {
		return fmt.Errorf("nothing in %s is recognized as a configuration of %s; name the file that has its settings", path, source)
	}
	if err != nil {
		return fmt.Errorf("importing %s: it %w", path, err)
	}
	if _, err := config.ParseRules("the result", result.YAML); err != nil {
		return fmt.Errorf("importing %s: the result would not be accepted, which is a fault of this command; please report it with the settings that the file has: %w", path, err)
	}
	if err := writeImported(cmd, result, f); err != nil {
		return err
	}
	return printFindings(cmd.ErrOrStderr(), path, result.Findings, cmd.Flag("output").Value.String())
}

// maxImported bounds the file that is read.
const maxImported = 1<<20 + 1

func readImported(in io.Reader, path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(io.LimitReader(in, maxImported))
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("there is no file %s", path)
	case err == nil && info.IsDir():
		return nil, fmt.Errorf("%s is a folder; name the file with the settings", path)
	case err != nil:
		return nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return io.ReadAll(io.LimitReader(file, maxImported))
}

// secretsFolder returns how the configuration names the folder of secrets: from its own folder.
func secretsFolder(to, secrets string) (string, error) {
	if secrets == "" || to == "" {
		return secrets, nil
	}
	from, err := filepath.Abs(filepath.Dir(to))
	if err != nil {
		return "", err
	}
	folder, err := filepath.Abs(secrets)
	if err != nil {
		return "", err
	}
	if relative, err := filepath.Rel(from, folder); err == nil && !strings.HasPrefix(relative, "..") {
		return relative, nil
	}
	return folder, nil
}

// writeImported writes the secrets, then the configuration: all of it, or nothing.
func writeImported(cmd *cobra.Command, result importer.Result, f importFlags) (err error) {
	var written []string
	defer func() {
		if err != nil {
			for _, path := range written {
				err = errors.Join(err, os.Remove(path))
			}
		}
	}()
	write := func(path string, text []byte) error {
		err := writeNewFile(path, text)
		if errors.Is(err, os.ErrExist) {
			return fmt.Errorf("there is a file %s already, and nothing was written; name another, or move that one away", path)
		}
		if err == nil {
			written = append(written, path)
		}
		return err
	}
	if *f.secrets != "" && len(result.Secrets) > 0 {
		if err := os.MkdirAll(*f.secrets, 0o700); err != nil {
			return err
		}
		for _, s := range result.Secrets {
			if err := write(filepath.Join(*f.secrets, s.Name), []byte(s.Content)); err != nil {
				return err
			}
		}
	}
	if *f.to != "" {
		return write(*f.to, result.YAML)
	}
	_, err = cmd.OutOrStdout().Write(result.YAML)
	return err
}

// importFacts are findings and the file that they are about.
type importFacts struct {
	File     string             `json:"file"`
	Findings []importer.Finding `json:"findings"`
}

func printFindings(out io.Writer, path string, findings []importer.Finding, format string) error {
	facts := importFacts{path, findings}
	switch format {
	case "json":
		return writeJSON(out, facts)
	case "yaml":
		return writeYAML(out, facts)
	case "csv":
		t := table{heads: []string{"line", "column", "key", "kind", "target", "text", "denies"}}
		for _, f := range findings {
			t.rows = append(t.rows, []string{strconv.Itoa(f.Line), strconv.Itoa(f.Column), f.Key, string(f.Kind), f.Target, f.Text, strconv.FormatBool(f.Denies)})
		}
		return writeCSV(out, t)
	}
	count := map[importer.Kind]int{}
	for _, f := range findings {
		count[f.Kind]++
		place := path
		if f.Line > 0 {
			place = fmt.Sprintf("%s:%d:%d", path, f.Line, f.Column)
		}
		fmt.Fprintf(out, "%s: %s\n", printable(place), printable(f.Describe()))
	}
	_, err := fmt.Fprintf(out, "%d settings carried over, %d carried over differently, %d not carried over, %d unknown, %d things to fill in\n",
		count[importer.Carried], count[importer.Changed], count[importer.Dropped], count[importer.Unknown], count[importer.FillIn])
	return err
}
