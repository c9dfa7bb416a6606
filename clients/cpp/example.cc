// Asks for a slate within a deadline, comes back when the server says so, and saves the images.

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "etalage/v1/images.grpc.pb.h"

namespace pb = etalage::v1;
using Clock = std::chrono::system_clock;
using std::chrono::milliseconds;

constexpr milliseconds kBackoff{500};  // where nobody is there to say when to come back
constexpr int kMaxMessageBytes = 256 << 20;

// After which to ask again; nothing where that would not help.
std::optional<milliseconds> FindPause(const grpc::Status& status,
                                      const grpc::ClientContext& context) {
  if (status.error_code() != grpc::RESOURCE_EXHAUSTED && status.error_code() != grpc::UNAVAILABLE)
    return std::nullopt;
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto found = trailers.find("grpc-retry-pushback-ms");
  if (found == trailers.end()) return kBackoff;
  const long pause_ms = std::atol(std::string(found->second.data(), found->second.size()).c_str());
  if (pause_ms < 0) return std::nullopt;  // never
  return milliseconds(pause_ms);
}

void Save(const pb::GenerateSlateResponse& item, const std::filesystem::path& folder) {
  std::cout << item.rank() << ' ' << item.product_id() << ": ";
  if (!item.has_result()) {
    std::cout << "failed, " << item.error().reason() << std::endl;
    return;
  }
  const auto& result = item.result();
  const auto& reason = pb::Personalization::Reason_Name(result.personalization().reason());
  for (const auto& image : result.images()) {
    const auto& type = image.mime_type();
    const auto path = folder / (std::to_string(item.rank()) + '.' + type.substr(type.find('/') + 1));
    std::ofstream(path, std::ios::binary) << image.data();
    std::cout << result.arm() << ", " << reason << ", " << path.string() << std::endl;
  }
}

grpc::Status AskUntil(Clock::time_point deadline, const pb::GenerateSlateRequest& request,
                      pb::ImageService::Stub& stub, const std::filesystem::path& folder) {
  const char* api_key = std::getenv("ETALAGE_API_KEY");
  while (true) {
    grpc::ClientContext context;  // one for each try
    context.set_deadline(deadline);
    if (api_key) context.AddMetadata("x-api-key", api_key);

    const auto slate = stub.GenerateSlate(&context, request);
    pb::GenerateSlateResponse item;
    while (slate->Read(&item)) Save(item, folder);  // each as soon as it is ready

    const grpc::Status status = slate->Finish();
    if (status.ok()) return status;
    const auto pause = FindPause(status, context);
    if (!pause || Clock::now() + *pause >= deadline) return status;
    std::cout << "refused, again in " << pause->count() << " ms" << std::endl;
    std::this_thread::sleep_for(*pause);
  }
}

int main(int argc, char* argv[]) {
  if (argc < 5) {
    std::cerr << "usage: example ADDRESS USER FOLDER PRODUCT..." << std::endl;
    return 2;
  }
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const std::filesystem::path folder = arguments[2];
  const char* timeout_s = std::getenv("ETALAGE_TIMEOUT_S");
  const auto deadline = Clock::now() + milliseconds(int(1000 * std::atof(timeout_s ? timeout_s : "30")));

  pb::GenerateSlateRequest request;
  request.mutable_template_()->set_user_id(arguments[1]);
  request.mutable_product_ids()->Add(arguments.begin() + 3, arguments.end());
  // The same for all tries: what was made before a connection broke is not made again.
  std::random_device random;
  request.set_request_id(std::to_string(random()) + '-' + std::to_string(random()));

  grpc::ChannelArguments options;
  options.SetMaxReceiveMessageSize(kMaxMessageBytes);
  // Plain text is for this machine alone: to any other grpc::SslCredentials({}).
  const auto channel =
      grpc::CreateCustomChannel(arguments[0], grpc::InsecureChannelCredentials(), options);
  const auto stub = pb::ImageService::NewStub(channel);

  std::filesystem::create_directories(folder);
  const grpc::Status status = AskUntil(deadline, request, *stub, folder);
  if (status.ok()) return 0;
  std::cerr << "failed: " << status.error_code() << ": " << status.error_message() << std::endl;
  return 1;
}
