// Command cri pulls images as kubelet does: over the container runtime interface of a running containerd.
//
//	cri SOCKET pull IMAGE     prints the image's reference, or the error as kubelet would tell it in an event
//	cri SOCKET remove IMAGE   takes the image out of the runtime's store
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// deadline bounds one call, as kubelet's image pull progress deadline does: longer than any pull over loopback.
const deadline = 90 * time.Second

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: cri SOCKET pull|remove IMAGE")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(socket, action, name string) error {
	connection, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	images := runtime.NewImageServiceClient(connection)
	image := &runtime.ImageSpec{Image: name}
	switch action {
	case "pull":
		answer, err := images.PullImage(ctx, &runtime.PullImageRequest{Image: image})
		if err != nil {
			return err
		}
		fmt.Println(answer.ImageRef)
		return nil
	case "remove":
		_, err := images.RemoveImage(ctx, &runtime.RemoveImageRequest{Image: image})
		return err
	default:
		return fmt.Errorf("unknown action %q", action)
	}
}
