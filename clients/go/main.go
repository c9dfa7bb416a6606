// Asks for a slate within a deadline, comes back when the server says so, and saves the images.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/etalage/etalage/clients/go/etalage/v1"
)

const (
	backoff         = 500 * time.Millisecond // where nobody is there to say when to come back
	maxMessageBytes = 256 << 20
)

func main() {
	if len(os.Args) < 5 {
		fmt.Fprintln(os.Stderr, "usage: example ADDRESS USER FOLDER PRODUCT...")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4:]); err != nil {
		fmt.Fprintf(os.Stderr, "failed: %v\n", err)
		os.Exit(1)
	}
}

func run(address, user, folder string, products []string) error {
	timeout, err := time.ParseDuration(lookUp("ETALAGE_TIMEOUT_S", "30") + "s")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if key := os.Getenv("ETALAGE_API_KEY"); key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "x-api-key", key)
	}
	// Plain text is for this machine alone: to any other grpc.WithTransportCredentials.
	connection, err := grpc.Dial(address, grpc.WithInsecure(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes)))
	if err != nil {
		return err
	}
	defer connection.Close()
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	// The same id for all tries: what was made before a connection broke is not made again.
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return err
	}
	request := &pb.GenerateSlateRequest{
		ProductIds: products,
		Template:   &pb.GenerateImageRequest{UserId: user},
		RequestId:  fmt.Sprintf("%x", id),
	}
	return askUntilDeadline(ctx, pb.NewImageServiceClient(connection), request, folder)
}

func askUntilDeadline(ctx context.Context, client pb.ImageServiceClient, request *pb.GenerateSlateRequest, folder string) error {
	deadline, _ := ctx.Deadline()
	for {
		trailers, err := ask(ctx, client, request, folder)
		if err == nil {
			return nil
		}
		pause, ok := findPause(err, trailers)
		if !ok || pause >= time.Until(deadline) {
			return err
		}
		fmt.Printf("refused, again in %d ms\n", pause.Milliseconds())
		time.Sleep(pause)
	}
}

func ask(ctx context.Context, client pb.ImageServiceClient, request *pb.GenerateSlateRequest, folder string) (metadata.MD, error) {
	slate, err := client.GenerateSlate(ctx, request)
	if err != nil {
		return nil, err
	}
	for {
		item, err := slate.Recv() // each as soon as it is ready
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return slate.Trailer(), err
		}
		if err := save(item, folder); err != nil {
			return nil, err
		}
	}
}

// findPause says after which time to ask again, or that it would not help.
func findPause(err error, trailers metadata.MD) (time.Duration, bool) {
	if code := status.Code(err); code != codes.ResourceExhausted && code != codes.Unavailable {
		return 0, false
	}
	told := trailers.Get("grpc-retry-pushback-ms")
	if len(told) == 0 {
		return backoff, true
	}
	pauseMs, err := strconv.Atoi(told[0])
	return time.Duration(pauseMs) * time.Millisecond, err == nil && pauseMs >= 0 // a negative one says never
}

func save(item *pb.GenerateSlateResponse, folder string) error {
	result := item.GetResult()
	if result == nil {
		fmt.Printf("%d %s: failed, %s\n", item.GetRank(), item.GetProductId(), item.GetError().GetReason())
		return nil
	}
	for _, image := range result.GetImages() {
		_, extension, _ := strings.Cut(image.GetMimeType(), "/")
		path := filepath.Join(folder, fmt.Sprintf("%d.%s", item.GetRank(), extension))
		if err := os.WriteFile(path, image.GetData(), 0o644); err != nil {
			return err
		}
		reason := result.GetPersonalization().GetReason()
		fmt.Printf("%d %s: %s, %s, %s\n", item.GetRank(), item.GetProductId(), result.GetArm(), reason, path)
	}
	return nil
}

func lookUp(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
