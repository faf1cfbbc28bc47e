package console

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"image/png"
	"io"
	"os"
)

// picture is a file that pages name: a logo or an icon of the configuration, or the style sheet with its color.
type picture struct {
	name string // its hash and extension: the last part of its path
	kind string // its media type
	body []byte
}

const (
	maxPicture = 256 << 10 // bytes
	maxSide    = 1024      // pixels
)

// checkPicture reports what is wrong with the file of a picture; nothing if path is "".
func checkPicture(key, path string, fault func(path, problem string)) {
	if _, err := readPicture(path); path != "" && err != nil {
		fault(key, err.Error())
	}
}

// readPicture reads a picture, and checks that it is one that can be shown and does nothing else.
func readPicture(path string) (*picture, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("there is no file %s; name a PNG, SVG or WebP file", path)
	case err != nil:
		return nil, fmt.Errorf("cannot be read: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not an ordinary file; name a PNG, SVG or WebP file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	defer f.Close()
	body, err := io.ReadAll(io.LimitReader(f, maxPicture+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot be read: %w", err)
	case len(body) > maxPicture:
		return nil, fmt.Errorf("%s has more than %d bytes; make the picture smaller", path, maxPicture)
	}
	kind, extension, err := pictureKind(body)
	if err != nil {
		return nil, fmt.Errorf("%s %w", path, err)
	}
	return newPicture(body, kind, extension), nil
}

func newPicture(body []byte, kind, extension string) *picture {
	sum := sha256.Sum256(body)
	return &picture{name: hex.EncodeToString(sum[:]) + extension, kind: kind, body: body}
}

// pictureKind returns the media type of a picture, by what it holds, and its usual extension.
func pictureKind(body []byte) (kind, extension string, err error) {
	switch {
	case bytes.HasPrefix(body, []byte("\x89PNG\r\n\x1a\n")):
		return "image/png", ".png", checkPNG(body)
	case len(body) >= 12 && string(body[:4]) == "RIFF" && string(body[8:12]) == "WEBP":
		return "image/webp", ".webp", checkWebP(body)
	case bytes.HasPrefix(bytes.TrimLeft(bytes.TrimPrefix(body, []byte("\ufeff")), " \t\r\n"), []byte("<")):
		return "image/svg+xml", ".svg", checkSVG(body)
	}
	return "", "", errors.New("is no picture that pages show; write the name of a PNG, SVG or WebP file")
}

func checkPNG(body []byte) error {
	config, err := png.DecodeConfig(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("is not a PNG file that can be shown: %w", err)
	}
	if err := checkSides(config.Width, config.Height); err != nil {
		return err
	}
	if _, err := png.Decode(bytes.NewReader(body)); err != nil {
		return fmt.Errorf("is not a PNG file that can be shown: %w", err)
	}
	return nil
}

func checkSides(width, height int) error {
	if width < 1 || height < 1 || width > maxSide || height > maxSide {
		return fmt.Errorf("has %d × %d pixels; a picture may have up to %d × %[3]d", width, height, maxSide)
	}
	return nil
}

var errWebP = errors.New("is not a WebP file that can be shown")

// checkWebP checks the container and the first chunk (RFC 9649): that all of the file is there, and its size in pixels.
func checkWebP(body []byte) error {
	const header = 12 // RIFF, size, WEBP
	if len(body) < header+18 || int64(binary.LittleEndian.Uint32(body[4:])) != int64(len(body)-8) {
		return errWebP
	}
	chunk := body[header+8:]
	switch string(body[header : header+4]) {
	case "VP8X":
		return checkSides(1+int(binary.LittleEndian.Uint32(append(bytes.Clone(chunk[4:7]), 0))), 1+int(binary.LittleEndian.Uint32(append(bytes.Clone(chunk[7:10]), 0))))
	case "VP8L":
		if bits := binary.LittleEndian.Uint32(chunk[1:]); chunk[0] == 0x2f {
			return checkSides(1+int(bits&0x3fff), 1+int(bits>>14&0x3fff))
		}
	case "VP8 ":
		if bytes.Equal(chunk[3:6], []byte{0x9d, 0x01, 0x2a}) {
			return checkSides(int(binary.LittleEndian.Uint16(chunk[6:])&0x3fff), int(binary.LittleEndian.Uint16(chunk[8:])&0x3fff))
		}
	}
	return errWebP
}
