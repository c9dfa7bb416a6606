import pytest

from server.access.scopes import Rule, Scope, need_of
from server.doors import batches, channelz, enhancement, experiments, images, models


def test_every_method_of_the_server_is_in_the_table():
    methods = [method for door in (images, batches, enhancement, experiments, models)
               for method in door.METHODS]  # fmt: skip
    assert all(isinstance(need_of(method), Scope) for method in methods)


@pytest.mark.parametrize(
    ("method", "need"),
    [
        (images.CANCEL, Scope.GENERATE),
        (f"{batches.SERVICE}/GenerateBatch", Scope.GENERATE),
        (f"{experiments.SERVICE}/RecordEvents", Scope.RECORD),
        (f"{experiments.SERVICE}/StreamEvents", Scope.RECORD),
        (f"{experiments.SERVICE}/GetExperimentReport", Scope.ADMIN),
        (f"{models.SERVICE}/UnloadModel", Scope.ADMIN),
        (f"{channelz.SERVICE}/GetServers", Scope.ADMIN),
        ("etalage.v1.PrivacyService/EraseShopper", Scope.ERASE),
        ("etalage.v1.ProvenanceService/ReadSeal", Scope.GENERATE),
        ("grpc.health.v1.Health/Watch", Rule.OPEN),
        (f"{experiments.SERVICE}/DropEvents", Rule.REFUSED),
        ("etalage.v1.Images/Generate", Rule.REFUSED),
        ("", Rule.REFUSED),
    ],
)
def test_the_table(method, need):
    assert need_of(method) is need
