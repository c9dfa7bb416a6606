// Asks for a slate within a deadline, comes back when the server says so, and saves the images.

using System;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Threading.Tasks;
using Etalage.V1;
using Grpc.Core;
using Grpc.Net.Client;

namespace Etalage.Example
{
    public static class Program
    {
        // Where nobody is there to say when to come back.
        private static readonly TimeSpan Backoff = TimeSpan.FromMilliseconds(500);
        private const int MaxMessageBytes = 256 << 20;

        public static async Task<int> Main(string[] arguments)
        {
            if (arguments.Length < 4)
            {
                Console.Error.WriteLine("usage: example ADDRESS USER FOLDER PRODUCT...");
                return 2;
            }
            var timeoutS = Environment.GetEnvironmentVariable("ETALAGE_TIMEOUT_S") ?? "30";
            var deadline = DateTime.UtcNow.AddSeconds(double.Parse(timeoutS, CultureInfo.InvariantCulture));
            var request = new GenerateSlateRequest
            {
                ProductIds = { arguments.Skip(3) },
                Template = new GenerateImageRequest { UserId = arguments[1] },
                // The same for all tries: what was made before a connection broke is not made again.
                RequestId = Guid.NewGuid().ToString(),
            };
            var folder = Directory.CreateDirectory(arguments[2]).FullName;
            // Plain text is for this machine alone: to any other https://, which is TLS.
            var options = new GrpcChannelOptions { MaxReceiveMessageSize = MaxMessageBytes };
            using (var channel = GrpcChannel.ForAddress("http://" + arguments[0], options))
            {
                try
                {
                    await AskUntil(deadline, new ImageService.ImageServiceClient(channel), request, folder);
                    return 0;
                }
                catch (RpcException error)
                {
                    Console.Error.WriteLine($"failed: {error.StatusCode}: {error.Status.Detail}");
                    return 1;
                }
            }
        }

        private static async Task AskUntil(
            DateTime deadline, ImageService.ImageServiceClient client, GenerateSlateRequest request, string folder)
        {
            var headers = new Metadata();
            if (Environment.GetEnvironmentVariable("ETALAGE_API_KEY") is string key)
            {
                headers.Add("x-api-key", key);
            }
            while (true)
            {
                TimeSpan pause;
                try
                {
                    using (var slate = client.GenerateSlate(request, headers, deadline))
                    {
                        while (await slate.ResponseStream.MoveNext())
                        {
                            Save(slate.ResponseStream.Current, folder); // each as soon as it is ready
                        }
                        return;
                    }
                }
                catch (RpcException error) when (FindPause(error) is TimeSpan told && DateTime.UtcNow + told < deadline)
                {
                    pause = told;
                }
                Console.WriteLine($"refused, again in {pause.TotalMilliseconds} ms");
                await Task.Delay(pause);
            }
        }

        // After which to ask again; null where that would not help.
        private static TimeSpan? FindPause(RpcException error)
        {
            if (error.StatusCode != StatusCode.ResourceExhausted && error.StatusCode != StatusCode.Unavailable)
            {
                return null;
            }
            var told = error.Trailers.GetValue("grpc-retry-pushback-ms");
            if (told == null)
            {
                return Backoff;
            }
            var pauseMs = long.Parse(told, CultureInfo.InvariantCulture);
            return pauseMs < 0 ? (TimeSpan?)null : TimeSpan.FromMilliseconds(pauseMs); // a negative one says never
        }

        private static void Save(GenerateSlateResponse item, string folder)
        {
            if (item.OutcomeCase != GenerateSlateResponse.OutcomeOneofCase.Result)
            {
                Console.WriteLine($"{item.Rank} {item.ProductId}: failed, {item.Error?.Reason}");
                return;
            }
            foreach (var image in item.Result.Images)
            {
                var path = Path.Combine(folder, $"{item.Rank}.{image.MimeType.Split('/')[1]}");
                File.WriteAllBytes(path, image.Data.ToByteArray());
                var reason = item.Result.Personalization?.Reason;
                Console.WriteLine($"{item.Rank} {item.ProductId}: {item.Result.Arm}, {reason}, {path}");
            }
        }
    }
}
