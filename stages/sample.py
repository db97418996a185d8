"""sample: photographs -> data/sample/ (manifest.csv and uint8 shards)."""

from pathlib import Path

from pipeline.params import exit_with, read_or_exit


def main() -> None:
    params = read_or_exit()
    from pipeline.data.candidates import SourceError
    from pipeline.data.sampling import draw
    from pipeline.data.sources import candidates
    from pipeline.publish import fresh_folder, publish, write_json

    try:
        found = candidates(params.sample, params.base.seed)
        work = fresh_folder(Path("logs/sample"))
        drawn = fresh_folder(work / "data")
        counts = draw(found, params.sample, params.base.image_size, params.base.seed, drawn)
        write_json(work / "metrics.json", counts)
        publish(work / "metrics.json", Path("reports/sample/metrics.json"))
        publish(drawn, Path("data/sample"))
    except SourceError as error:
        exit_with(str(error))
    except OSError as error:
        exit_with(f"{error.filename or 'output'}: {error.strerror or error}; the sample is not complete")


if __name__ == "__main__":
    main()
