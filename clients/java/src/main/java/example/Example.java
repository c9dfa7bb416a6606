package example;

import com.etalage.v1.GenerateImageRequest;
import com.etalage.v1.GenerateSlateRequest;
import com.etalage.v1.GenerateSlateResponse;
import com.etalage.v1.Image;
import com.etalage.v1.ImageServiceGrpc;
import com.etalage.v1.ImageServiceGrpc.ImageServiceBlockingStub;
import io.grpc.Deadline;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.MetadataUtils;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.TimeUnit;

/** Asks for a slate within a deadline, comes back when the server says so, and saves the images. */
public final class Example {
  private static final long BACKOFF_MS = 500; // where nobody is there to say when to come back
  private static final int MAX_MESSAGE_BYTES = 256 << 20;
  private static final Metadata.Key<String> PUSHBACK = key("grpc-retry-pushback-ms");

  public static void main(String[] arguments) throws Exception {
    if (arguments.length < 4) {
      System.err.println("usage: example ADDRESS USER FOLDER PRODUCT...");
      System.exit(2);
    }
    List<String> products = Arrays.asList(arguments).subList(3, arguments.length);
    GenerateSlateRequest request =
        GenerateSlateRequest.newBuilder()
            .addAllProductIds(products)
            .setTemplate(GenerateImageRequest.newBuilder().setUserId(arguments[1]))
            // The same for all tries: what was made before a connection broke is not made again.
            .setRequestId(UUID.randomUUID().toString())
            .build();
    Path folder = Files.createDirectories(Path.of(arguments[2]));
    double timeoutS = Double.parseDouble(System.getenv().getOrDefault("ETALAGE_TIMEOUT_S", "30"));
    Deadline deadline = Deadline.after((long) (1000 * timeoutS), TimeUnit.MILLISECONDS);

    ManagedChannel channel =
        NettyChannelBuilder.forTarget(arguments[0])
            .usePlaintext() // for this machine alone: to any other leave it out, which is TLS
            .maxInboundMessageSize(MAX_MESSAGE_BYTES)
            .build();
    try {
      askUntil(deadline, request, signed(ImageServiceGrpc.newBlockingStub(channel)), folder);
    } catch (StatusRuntimeException error) {
      Status status = error.getStatus();
      System.err.println("failed: " + status.getCode() + ": " + status.getDescription());
      System.exit(1);
    } finally {
      channel.shutdownNow();
    }
  }

  private static void askUntil(
      Deadline deadline, GenerateSlateRequest request, ImageServiceBlockingStub stub, Path folder)
      throws IOException, InterruptedException {
    while (true) {
      try {
        var slate = stub.withDeadline(deadline).generateSlate(request);
        while (slate.hasNext()) {
          save(slate.next(), folder); // each as soon as it is ready
        }
        return;
      } catch (StatusRuntimeException error) {
        Optional<Long> pauseMs = findPauseMs(error);
        long leftMs = deadline.timeRemaining(TimeUnit.MILLISECONDS);
        if (pauseMs.isEmpty() || pauseMs.get() >= leftMs) {
          throw error;
        }
        System.out.println("refused, again in " + pauseMs.get() + " ms");
        Thread.sleep(pauseMs.get());
      }
    }
  }

  /** After which to ask again; empty where that would not help. */
  private static Optional<Long> findPauseMs(StatusRuntimeException error) {
    Status.Code code = error.getStatus().getCode();
    if (code != Status.Code.RESOURCE_EXHAUSTED && code != Status.Code.UNAVAILABLE) {
      return Optional.empty();
    }
    Metadata trailers = error.getTrailers();
    String told = trailers == null ? null : trailers.get(PUSHBACK);
    long pauseMs = told == null ? BACKOFF_MS : Long.parseLong(told);
    return pauseMs < 0 ? Optional.empty() : Optional.of(pauseMs); // a negative one says never
  }

  private static void save(GenerateSlateResponse item, Path folder) throws IOException {
    String start = item.getRank() + " " + item.getProductId() + ": ";
    if (!item.hasResult()) {
      System.out.println(start + "failed, " + item.getError().getReason());
      return;
    }
    var result = item.getResult();
    for (Image image : result.getImagesList()) {
      String extension = image.getMimeType().substring(image.getMimeType().indexOf('/') + 1);
      Path path = folder.resolve(item.getRank() + "." + extension);
      Files.write(path, image.getData().toByteArray());
      var reason = result.getPersonalization().getReason();
      System.out.println(start + result.getArm() + ", " + reason + ", " + path);
    }
  }

  private static ImageServiceBlockingStub signed(ImageServiceBlockingStub stub) {
    String apiKey = System.getenv("ETALAGE_API_KEY");
    if (apiKey == null) {
      return stub;
    }
    Metadata headers = new Metadata();
    headers.put(key("x-api-key"), apiKey);
    return stub.withInterceptors(MetadataUtils.newAttachHeadersInterceptor(headers));
  }

  private static Metadata.Key<String> key(String name) {
    return Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER);
  }
}
