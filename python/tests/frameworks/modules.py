"""Modules as users write them: one for each idiom that `from_torch` follows."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class Tagger(nn.Module):
    """The head is registered first, and called last."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(16, 5)
        self.embedding = nn.Embedding(11, 6, padding_idx=0)
        self.lstm = nn.LSTM(6, 8, num_layers=2, bidirectional=True, batch_first=True)

    def forward(self, tokens):
        y, (h, c) = self.lstm(self.embedding(tokens))
        return self.head(y)


class LastStep(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru, self.drop, self.out = nn.GRU(4, 8), nn.Dropout(0.3), nn.Linear(8, 3)

    def forward(self, x):
        y, _ = self.gru(x)
        return torch.sigmoid(self.out(self.drop(y[-1])))


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.out = nn.LSTM(4, 8, batch_first=True, bidirectional=True), nn.Linear(16, 3)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        _, (h, _) = self.lstm(packed)
        return self.out(torch.cat((h[-2], h[-1]), dim=1))


class PaddedAgain(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.out = nn.LSTM(4, 8, batch_first=True, bidirectional=True), nn.Linear(16, 3)

    def forward(self, x, lens):
        packed = nn.utils.rnn.pack_padded_sequence(x, lens, batch_first=True, enforce_sorted=False)
        y, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        return F.log_softmax(self.out(y), dim=-1), y.mean(1), y.max(dim=1)[0]


class Convolutional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.pool = nn.Conv1d(4, 6, 3, padding=1), nn.BatchNorm1d(6), nn.MaxPool1d(2)
        self.rnn, self.out = nn.LSTM(6, 5, batch_first=True), nn.Linear(5, 2)
        self.norm.running_mean.uniform_()
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x):
        x = self.pool(F.relu(self.norm(self.conv(x.permute(0, 2, 1))))).transpose(1, 2)
        y, _ = self.rnn(x)
        return self.out(y[:, -1, :]).squeeze(-1)


class MaxOverTime(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.out = nn.Conv1d(4, 6, 3, padding="same", dilation=2), nn.Linear(6, 1)

    def forward(self, x):
        x = F.gelu(self.conv(x))
        return self.out(F.max_pool1d(x, x.shape[2]).squeeze(2)).squeeze(1)


class ZeroStates(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.fc = nn.LSTM(4, 8, 2, batch_first=True), nn.Linear(8, 8)
        self.norm, self.out = nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x):
        h = torch.zeros(2, x.size(0), 8).to(x.device)
        c = torch.zeros(2, x.size(0), 8, device=x.device)
        y, _ = self.lstm(x, (h, c))
        y = self.norm(y + self.fc(y))
        rows, steps, features = y.shape
        return self.out(y.contiguous().view(-1, features)).view(rows, steps, -1)


class EncoderDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(9, 4)
        self.encoder, self.decoder = nn.LSTM(4, 6, batch_first=True), nn.LSTM(4, 6, batch_first=True)
        self.out = nn.Linear(6, 9)

    def forward(self, source, target):
        _, state = self.encoder(self.embedding(source))
        y, _ = self.decoder(self.embedding(target), state)
        return self.out(y)


class SeveralInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.facts = nn.GRU(4, 6, batch_first=True), nn.Linear(3, 5)
        self.kinds, self.out = nn.Embedding(7, 2), nn.Linear(13, 1)

    def forward(self, sequence, facts, kind):
        _, h = self.rnn(sequence)
        return self.out(torch.cat([h.squeeze(0), torch.relu(self.facts(facts)), self.kinds(kind)], dim=-1))


class WeightedSum(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.score, self.out = nn.GRU(4, 6, batch_first=True), nn.Linear(6, 1), nn.Linear(6, 2)

    def forward(self, x):
        y, _ = self.rnn(x)
        weights = torch.softmax(self.score(torch.tanh(y)), dim=1)
        return self.out((weights * y).sum(dim=1))


class DotAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.out = nn.LSTM(4, 6, batch_first=True), nn.Linear(12, 2)

    def forward(self, x):
        y, (h, _) = self.rnn(x)
        weights = F.softmax(torch.bmm(y, h[-1].unsqueeze(2)).squeeze(2), 1)
        context = torch.bmm(y.transpose(1, 2), weights.unsqueeze(2)).squeeze(2)
        return self.out(torch.cat([context, h[-1]], 1))


class SelfAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.query, self.out = nn.LSTM(4, 6, batch_first=True), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x):
        y, _ = self.rnn(x)
        return self.out(torch.softmax(self.query(y) @ y.transpose(-2, -1) / 6**0.5, dim=-1) @ y)


class LearnedStates(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)
        self.h0, self.c0 = nn.Parameter(torch.randn(1, 1, 4)), nn.Parameter(torch.randn(1, 1, 4))

    def forward(self, x):
        states = (self.h0.expand(-1, x.size(0), -1).contiguous(), self.c0.repeat(1, x.size(0), 1))
        return self.lstm(x, states)[0]


class GivenStates(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)

    def forward(self, x, hx=None):
        y, hx = self.lstm(x, hx)
        return y, hx


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.steps, self.encoder = 6, nn.LSTM(3, 5, batch_first=True)
        self.decoder, self.out = nn.LSTM(5, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        _, (h, _) = self.encoder(x)
        y, _ = self.decoder(h.squeeze(0).unsqueeze(1).repeat(1, self.steps, 1))
        return self.out(y)


class Flattened(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.out = nn.LSTM(3, 4, batch_first=True), nn.Linear(20, 2)

    def forward(self, x):
        y, _ = self.lstm(x)
        return self.out(y.reshape(x.size(0), -1))


class FlattenedChannels(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.flat, self.out = nn.Conv1d(3, 4, 3), nn.Flatten(), nn.Linear(24, 2)

    def forward(self, x):
        return self.out(self.flat(torch.relu(self.conv(x))))


class Directions(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru, self.out = nn.GRU(3, 4, 2, bidirectional=True, batch_first=True), nn.Linear(4, 2)

    def forward(self, x):
        y, h = self.gru(x)
        h = h.view(2, 2, x.size(0), 4)[-1]
        return self.out(y[:, :, :4] + y[:, :, 4:]), self.out(h[0] + h[1])


class NamedResults(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.out = nn.LSTM(3, 4, bidirectional=True), nn.Linear(8, 2)

    def forward(self, x):
        y, (h, _) = self.lstm(x.permute(1, 0, 2))
        scores = self.out(h.permute(1, 0, 2).reshape(x.shape[0], -1))
        return {"y": y.permute(1, 2, 0), "label": scores.argmax(dim=1), "share": scores.softmax(-1)}


class Standardized(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.scale = nn.LSTM(3, 4, batch_first=True), nn.Parameter(torch.randn(4))
        self.register_buffer("mean", torch.randn(3))
        self.register_buffer("deviation", torch.rand(3) + 0.5)

    def forward(self, x):
        y, _ = self.lstm((x - self.mean) / self.deviation)
        return 1 - y * self.scale * 2.0


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(9, 5), nn.LSTM(5, 5, batch_first=True)
        self.out = nn.Linear(5, 9)
        self.out.weight = self.embedding.weight

    def forward(self, ids):
        return self.out(self.lstm(self.embedding(ids))[0])


class Normalized(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.utils.parametrizations.weight_norm(nn.Linear(3, 4))
        self.rnn = nn.RNN(4, 4, batch_first=True)

    def forward(self, x):
        return self.rnn(F.leaky_relu(self.first(x), 0.2))[0].mean(dim=1)


class Univariate(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.out = nn.LSTM(1, 4, batch_first=True, num_layers=2, dropout=0.2), nn.Linear(4, 1)

    def forward(self, series):
        y, _ = self.lstm(series.unsqueeze(-1))
        return self.out(y[:, -1]).squeeze()


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.gru = nn.LayerNorm(4), nn.GRU(4, 4, batch_first=True)

    def forward(self, x):
        return x + self.gru(self.norm(x))[0]


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(3))

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


class Context(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru, self.context, self.begin = nn.GRU(6, 4, batch_first=True), nn.Linear(2, 3), nn.Linear(2, 4)

    def forward(self, x, context):
        beside = self.context(context).unsqueeze(1).expand(-1, x.size(1), -1)
        return self.gru(torch.cat([x, beside], dim=2), torch.tanh(self.begin(context)).unsqueeze(0))[0]


class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.pool = nn.LSTM(3, 4, batch_first=True, bidirectional=True), nn.AdaptiveAvgPool1d(1)

    def forward(self, x):
        y = torch.cat([self.lstm(x)[0], x], -1)
        return y[:, ::2], self.pool(x.transpose(1, 2)).squeeze(2) * 2, x[:, 1], x[:, -2, 1]


class TimeMajorPacked(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.gru = nn.Embedding(8, 3), nn.GRU(3, 4)

    def forward(self, text, text_lengths):
        packed = pack_padded_sequence(self.embedding(text), text_lengths.to("cpu"))
        y, h = self.gru(packed)
        y, _ = pad_packed_sequence(y)
        return y, h


def ids(below, *shape):
    return torch.randint(0, below, shape)


#: Each module, and what its `forward` takes.
IDIOMS = [
    (Tagger, lambda: (ids(11, 3, 7),)),
    (LastStep, lambda: (torch.randn(7, 3, 4),)),
    (Packed, lambda: (torch.randn(3, 6, 4), torch.tensor([6, 2, 4]))),
    (PaddedAgain, lambda: (torch.randn(3, 6, 4), torch.tensor([6, 2, 4]))),
    (Convolutional, lambda: (torch.randn(2, 9, 4),)),
    (MaxOverTime, lambda: (torch.randn(2, 4, 9),)),
    (ZeroStates, lambda: (torch.randn(2, 5, 4),)),
    (EncoderDecoder, lambda: (ids(9, 2, 5), ids(9, 2, 4))),
    (SeveralInputs, lambda: (torch.randn(2, 5, 4), torch.randn(2, 3), ids(7, 2))),
    (WeightedSum, lambda: (torch.randn(2, 5, 4),)),
    (DotAttention, lambda: (torch.randn(2, 5, 4),)),
    (SelfAttention, lambda: (torch.randn(2, 5, 4),)),
    (LearnedStates, lambda: (torch.randn(2, 5, 3),)),
    (GivenStates, lambda: (torch.randn(2, 5, 3), (torch.randn(1, 2, 4), torch.randn(1, 2, 4)))),
    (Autoencoder, lambda: (torch.randn(2, 6, 3),)),
    (Flattened, lambda: (torch.randn(2, 5, 3),)),
    (FlattenedChannels, lambda: (torch.randn(2, 3, 8),)),
    (Directions, lambda: (torch.randn(2, 8, 3),)),
    (NamedResults, lambda: (torch.randn(2, 8, 3),)),
    (Standardized, lambda: (torch.randn(2, 8, 3),)),
    (Tied, lambda: (ids(9, 2, 8),)),
    (Normalized, lambda: (torch.randn(2, 8, 3),)),
    (Univariate, lambda: (torch.randn(3, 8),)),
    (Residual, lambda: (torch.randn(2, 8, 4),)),
    (Context, lambda: (torch.randn(2, 8, 3), torch.randn(2, 2))),
    (Parts, lambda: (torch.randn(2, 8, 3),)),
    (TimeMajorPacked, lambda: (ids(8, 6, 3), torch.tensor([6, 4, 2]))),
]
