class VideoModule(DataModule):
    """The base of all data modules of labelled videos.

    Args:
        batch_size: B, videos read side by side in each process.
        chunk_length: The most frames of each of them in a batch of the training part, where the
            model's state goes on from batch to batch without its gradient; None: whole videos.
        eval_chunk_length: The same for validation and test; only memory depends on it.
        num_workers: Processes that prepare batches ahead.
        seed: Start of the pseudo-random numbers that say how videos come together in each epoch.
        spec: A checkpoint's spec; None for the data's own.

    Attributes:
        stride: s; a subclass that has such a setting changes it.
    """

    stride = 1

    def __init__(
        self,
        *,
        batch_size: int,
        chunk_length: int | None,
        eval_chunk_length: int | None,
        num_workers: int,
        seed: int,
        spec: dict[str, Any] | None,
    ) -> None:
        super().__init__(spec=spec)
        for name, value in (("num_workers", num_workers), ("seed", seed)):
            if value < 0:
                raise UsageError(f"{name} is {value}; it has to be at least 0.")
        for length in (chunk_length, eval_chunk_length):
            VideoSampler((), batch_size=batch_size, chunk_length=length)  # checks them
        self.batch_size = batch_size
        self.chunk_length = chunk_length
        self.eval_chunk_length = eval_chunk_length
        self.num_workers = num_workers
        self.seed = seed

    @abstractmethod
    def videos(self, part: Part) -> Sequence[LabelledVideo]:
        """Return the videos of a part; none where it was asked to be empty.

        Args:
            part: The part.
        """

    def transfer_batch_to_device(
        self, batch: VideoBatch, device: torch.device, dataloader_idx: int
    ) -> VideoBatch:
        """Move frames and labels; what says where rows begin and end stays on the CPU, where a core reads it."""
        return batch._replace(
            input=batch.input.to(device, non_blocking=True),
            target=batch.target.to(device, non_blocking=True),
        )

    def loader(
        self, part: Part, *, epoch: int = 0, limit: int | float = 1.0
    ) -> ResumableLoader | None:
        """Return this process's loader of a part, None where it is empty.

        Args:
            part: The part.
            epoch: The epoch to start with.
            limit: The loader's `limit`.
        """
        videos = self.videos(part)
        if not videos:
            return None
        train = part == "train"
        rows = min(self.batch_size, -(-len(videos) // self.world_size))
        sampler = VideoSampler(
            [-(-len(video.labels) // self.stride) for video in videos],
            batch_size=rows,
            chunk_length=self.chunk_length if train else self.eval_chunk_length,
            seed=self.seed,
            rank=self.rank,
            world_size=self.world_size,
            shuffle=train and not getattr(self.trainer, "overfit_batches", 0),
        )
        return ResumableLoader(
            VideoDataset(videos, self.stride),
            sampler,
            num_workers=self.num_workers,
            seed=self.seed,
            epoch=epoch,
            limit=limit,
            pin_memory=self.pin_memory,
        )
