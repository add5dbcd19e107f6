"""Scripts that make the calls of ClearML's examples/datasets, with the import changed."""

import shutil
from pathlib import Path

import pytest

import dataver
from dataver.compat.clearml import Dataset, StorageManager, Task

EXAMPLES = "dataset_examples"


def make_table(folder: Path) -> Dataset:
    """Create a dataset from one file, as csv_dataset_creation.py does."""
    (folder / "iris.csv").write_text("a,b\n1,2\n")
    path = StorageManager().get_local_copy(remote_url=f"file://{folder}/iris.csv")
    dataset = Dataset.create(dataset_project=EXAMPLES, dataset_name="CSV_Dataset")
    dataset.add_files(path=path)
    dataset.upload()
    dataset.finalize()
    return dataset


def test_a_table_becomes_a_dataset(repo: dataver.Repository, tmp_path: Path) -> None:
    """csv_dataset_creation: the file is at the root of version 1.0.0."""
    make_table(tmp_path)
    assert [each.path for each in repo.version("dataset_examples/CSV_Dataset@1.0.0").entries()] == [
        "iris.csv"
    ]


def test_an_archive_becomes_a_dataset_and_is_read(
    repo: dataver.Repository, digits: Path, tmp_path: Path
) -> None:
    """dataset_creation and data_ingestion: a downloaded archive is added, and a training run gets a copy."""
    archive = shutil.make_archive(str(tmp_path / "cifar"), "gztar", digits)
    dataset = Dataset.create(dataset_name="cifar_dataset", dataset_project=EXAMPLES)
    dataset.add_files(path=StorageManager().get_local_copy(remote_url=archive))
    dataset.upload()
    dataset.finalize()
    task = Task.init(project_name="Image Example", task_name="Image classification")
    params = task.connect({"batch_size": 64})
    path = Dataset.get(
        dataset_name="cifar_dataset", dataset_project=EXAMPLES, only_completed=False
    ).get_local_copy()
    assert (Path(path) / "TRAIN/0/1.png").read_bytes() == b"TRAIN/0/1.png"
    assert params.get("batch_size", 4) == 64
    task.close()


def test_a_folder_is_synced_twice(repo: dataver.Repository, digits: Path, tmp_path: Path) -> None:
    """dataset_folder_syncing: the folder grows between two calls of sync_folder."""
    grows = tmp_path / "MNIST"
    grows.mkdir()
    dataset = Dataset.create(
        dataset_project=EXAMPLES, dataset_name="MNIST Complete Dataset (Syncing Example)"
    )
    shutil.copytree(digits / "TRAIN", grows / "TRAIN")
    assert dataset.sync_folder(grows) == (0, 2, 0)
    dataset.upload()
    shutil.copytree(digits / "TEST", grows / "TEST")
    assert dataset.sync_folder(grows) == (0, 1, 0)
    dataset.upload()
    dataset.finalize()
    assert dataset.list_files("TEST/*") == ["TEST/0/3.png"]


def test_a_child_inherits_files(repo: dataver.Repository, digits: Path) -> None:
    """single_parent_child_dataset: the id given before finalize names the parent afterwards."""
    parent = Dataset.create(dataset_project=EXAMPLES, dataset_name="MNIST Training Dataset")
    parent.add_files(path=digits / "TRAIN", dataset_path="TRAIN")
    parent.upload()
    parent.finalize()
    child = Dataset.create(
        dataset_project=EXAMPLES, dataset_name="MNIST Complete Dataset", parent_datasets=[parent.id]
    )
    child.add_files(path=digits / "TEST", dataset_path="TEST")
    child.upload()
    child.finalize()
    assert child.list_files() == ["TEST/0/3.png", "TRAIN/0/1.png", "TRAIN/1/2.png"]
    assert child.list_files(dataset_id=parent.id) == ["TRAIN/0/1.png", "TRAIN/1/2.png"]
    assert child.get_dependency_graph() == {child.id: [parent.id], parent.id: []}


def test_a_child_merges_parents_without_files_of_its_own(repo: dataver.Repository, digits: Path) -> None:
    """multi_parent_child_dataset: upload and finalize need no change, and the project has two parts."""
    project, parents = "dataset_examples/MNIST", []
    for part in ("TRAIN", "TEST"):
        dataset = Dataset.create(dataset_project=project, dataset_name=f"MNIST {part} Dataset")
        dataset.add_files(path=digits / part, dataset_path=part)
        dataset.upload()
        dataset.finalize()
        parents.append(dataset.id)
    child = Dataset.create(
        dataset_project=project, dataset_name="MNIST Complete Dataset", parent_datasets=parents
    )
    assert child.upload() is True
    assert child.finalize()
    assert child.list_files() == ["TEST/0/3.png", "TRAIN/0/1.png", "TRAIN/1/2.png"]
    assert (child.project, child.name) == (project, "MNIST Complete Dataset")


def test_sounds_have_metadata_and_plots(repo: dataver.Repository, tmp_path: Path) -> None:
    """urbansounds_get_data and _preprocessing: a frame is stored and read by the next script."""
    pd = pytest.importorskip("pandas")
    (tmp_path / "audio/fold1").mkdir(parents=True)
    (tmp_path / "audio/fold1/dog.wav").write_bytes(b"RIFF")
    metadata = pd.DataFrame({"fold": [1], "filepath": ["fold1/dog.wav"], "label": [3]})
    place = {"dataset_name": "UrbanSounds example", "dataset_project": "examples/Urbansounds"}
    Task.init(project_name="examples/Urbansounds", task_name="download data").connect({})
    raw = Dataset.create(**place, dataset_tags=["raw"])
    raw.add_files(tmp_path / "audio")
    raw._task.upload_artifact(name="metadata", artifact_object=metadata)
    raw.get_logger().report_table(title="Raw", series="Raw", table_plot=metadata)
    raw.get_logger().report_histogram(title="Classes", series="Classes", values=[1], iteration=0)
    raw.finalize(auto_upload=True)

    original = Dataset.get(**place, dataset_tags=["raw"], alias="Raw Dataset")
    frame = Task.get_task(task_id=original._task.id).artifacts["metadata"].get()
    assert frame.equals(metadata)
    folder = Path(original.get_mutable_local_copy("dataset", overwrite=True))
    assert [path.name for path in folder.iterdir()] == ["fold1"]
    (folder / "fold1/dog.npy").write_bytes(b"spectrogram")
    made = Dataset.create(**place, dataset_tags=["preprocessed"], parent_datasets=[original.id])
    made.get_logger().report_image(title="dog", series="spectrogram", image=None)
    made.get_logger().report_media(title="dog", series="audio", local_path=folder / "fold1/dog.wav")
    assert made.add_files(folder) == 1
    made._task.upload_artifact(name="metadata", artifact_object=frame)
    made.finalize(auto_upload=True)
    assert made.version == "1.0.1"
    assert Dataset.get(**place, dataset_tags=["raw"]).id == raw.id
    assert Dataset.get(**place).get_metadata().equals(metadata)
