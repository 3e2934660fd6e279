package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/kmip/transcript"
)

// startRecording begins what the setting record_file asks for. A recording that
// cannot be made is told and keeps no server from serving: it may be a restart
// in the night.
func (s *service) startRecording() {
	path := s.config.RecordFile
	if path == "" {
		return
	}
	recorder, err := transcript.NewRecorder(transcript.RecorderConfig{
		Path: path, Hidden: s.config.RecordHide, MaxSize: int64(s.config.RecordSize),
		About: "keyreeve " + version(), Logger: s.logger, Now: s.app.now,
	})
	if err != nil {
		s.logger.Error("nothing is recorded; move the file away or name another, and restart", "setting", config.Env("record_file"), "err", err)
		return
	}
	s.recorder = recorder
	s.logger.Warn("every KMIP message is recorded in a file; take record_file out and restart to end it",
		"file", path, "hidden", s.config.RecordHide, "limit_bytes", s.config.RecordSize)
}

func (s *service) stopRecording() {
	if s.recorder == nil {
		return
	}
	if err := s.recorder.Close(); err != nil {
		s.logger.Error("the recording is not whole", "err", err)
	}
}

func (a *app) recordCommand(o *options) *cobra.Command {
	return noun("record", "recordings of what clients and the server said", a.recordCheckCommand(o))
}

const recordCheckHelp = `Reads a recording that a server made with --record, and says what is in it and
whether it can be played to another server: whether it begins with a conversation
and not in the middle of one, and whether nothing is missing.

Look through the file before you give it to others. Keys and passwords are never in
it, and what --record-hide named is replaced; everything else is as it was said.`

// A recordReport is what record check prints.
type recordReport struct {
	File        string   `json:"file"`
	Connections int      `json:"connections"`
	Requests    int      `json:"requests"`
	Answers     int      `json:"answers"`
	Problems    []string `json:"problems"`
}

func (a *app) recordCheckCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "check FILE", Short: "look whether a recording can be replayed", Long: recordCheckHelp, Args: takes(1, "the recording's file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			report, err := checkRecording(args[0])
			if err != nil {
				return err
			}
			if err := a.show(cmd, o, report, func(w io.Writer) { recordFields(w, report) }); err != nil {
				return err
			}
			if len(report.Problems) > 0 {
				return &failure{Code: exitOther, Err: errors.New("the recording cannot be played alone"), Hint: "begin it before the clients connect, and give it room with record_size"}
			}
			return nil
		},
	}
	o.outputFlag(cmd)
	return cmd
}

func checkRecording(path string) (r recordReport, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return r, &failure{Code: exitUsage, Err: err}
	}
	t, err := transcript.ParseTranscript(data)
	if err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	r = recordReport{File: path, Problems: t.Unset()}
	for _, s := range t.Steps {
		switch s.Verb {
		case transcript.Connect:
			r.Connections++
		case transcript.Send:
			r.Requests++
		case transcript.Receive:
			r.Answers++
		}
	}
	r.Problems = append(r.Problems, transcript.Gaps(data)...)
	return r, nil
}

func recordFields(w io.Writer, r recordReport) {
	line(w, "connections", fmt.Sprint(r.Connections))
	line(w, "requests", fmt.Sprint(r.Requests))
	line(w, "answers", fmt.Sprint(r.Answers))
	for _, p := range r.Problems {
		line(w, "problem", p)
	}
	if len(r.Problems) == 0 {
		line(w, "result", "it can be played to another server")
	}
}
