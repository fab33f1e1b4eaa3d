"""From a real-valued image to a byte image of the cell, moving it as little as possible.

1. Project with a margin that rounding seldom crosses; round; run the integer model of the encoder; list the tiles that miss.
2. In those, a tabu search (Glover 1989) over steps of -1, 0, +1 of the three channels of one pixel. Its objective is

       F = 1/2 sum_k max(0, distance of coefficient k outside its interval)^2

   and the change of F by every step at every pixel is known at once: a step changes one luma sample and at most one sample
   of each chroma plane by -1, 0 or +1, and a sample's change moves the coefficients along one column of the DCT.
3. Tiles still missing start again nearer to the centre of the cell.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .box import Box
from .layout import TileMap, dct_matrix
from .model import COLOUR, averaging_bias, bounds, fixed_point_ycc, tile_coefficients

MARGINS = ((1.4, 0.48, 60), (1.4, 0.48, 400))
"""For each attempt: margin in grey levels of a coefficient, its limit in steps, and iterations of the search."""
MOVES = [m for m in itertools.product((-1, 0, 1), repeat=3) if any(m)]
CHUNK = 96
"""Tiles searched at a time: bounds memory to tens of megabytes."""
STILL = 1e-3
"""Weight of the squared distance to the wanted image against F: decides between steps that serve F alike."""


def snap(box: Box, image: Tensor, centre: Tensor, attempts=MARGINS) -> Tensor:
    """[B,3,H,W] in [0,1] -> uint8 [B,3,H,W]: in the cell by the integer model if the search succeeds, else nearest to it."""
    layout = box.layout
    wanted = layout.tiles(image * 255.0)
    best = None
    for level, limit, iterations in attempts:
        margin = (level / box.steps).clamp(max=limit)
        start = layout.tiles((box.project(image, margin, 60) * 255.0).round().int())
        if best is None:
            best = start.clone()
        for where in layout.maps:
            _snap_map(box, where, best, start, wanted, iterations)
    return layout.image(best).to(torch.uint8)


def _snap_map(box, where, best, start, wanted, iterations):
    part = (slice(None), slice(None), where.rows, where.columns)
    tiles = best[part].flatten(1, 3)
    symbols = box.symbols[part[1:]].flatten(0, 2)
    tables = box.tables.expand_as(box.symbols)[part[1:]].flatten(0, 2)
    low, high = bounds(symbols, tables)
    valid = box.layout.valid[where.rows, where.columns].expand(best.shape[1], -1, -1, -1).flatten(0, 2)[..., None]
    low, high = low.masked_fill(~valid, -(1 << 20)), high.masked_fill(~valid, 1 << 20)
    def penalty(t, lo, hi):
        c = tile_coefficients(t, where, box.layout.grey)
        return torch.maximum(lo - c, c - hi).clamp(min=0).double().square().sum((1, 2))
    score = penalty(tiles, low, high)
    todo = score.nonzero()[:, 0]
    fresh = start[part].flatten(1, 3)
    want = wanted[part].flatten(1, 3)
    for ids in todo.split(CHUNK):
        search = Search(fresh[:, ids], want[:, ids], low[ids], high[ids], where, box.layout.grey)
        found = search.run(iterations)
        better = penalty(found, low[ids], high[ids]) <= score[ids]
        tiles[:, ids[better]] = found[:, better]
    shape = best[part].shape
    best[part] = tiles.reshape(shape)


class Search:
    def __init__(self, tiles, wanted, low, high, where, grey):
        self.tiles, self.wanted, self.low, self.high = tiles.clone(), wanted, low, high
        self.where, self.grey = where, grey
        self.basis = dct_matrix().float().to(tiles.device)
        self.moves = torch.tensor(MOVES, dtype=torch.int32, device=tiles.device)
        self.shift = (self.moves @ COLOUR.to(tiles.device).T)  # [moves, 3]
        inv = torch.empty_like(where.luma_index); 
        self.luma_of = torch.zeros(where.real.numel(), dtype=torch.long); self.luma_of[where.luma_index] = torch.arange(len(where.luma_index))
        s = where.chroma_index.shape[1]
        self.chroma_of = torch.zeros(where.real.numel(), dtype=torch.long); self.chroma_of[where.chroma_index.flatten()] = torch.arange(64).repeat_interleave(s)

    def run(self, iterations):
        result = self.tiles.clone()
        bestF = torch.full((self.tiles.shape[1],), float("inf"))
        live = torch.arange(self.tiles.shape[1])
        t, want, lo, hi = self.tiles, self.wanted, self.low, self.high
        tabu = torch.zeros(t.shape[1:], dtype=torch.int32)
        g = torch.Generator().manual_seed(0)
        for i in range(iterations):
            c = tile_coefficients(t, self.where, self.grey)
            over = torch.maximum(lo - c, c - hi)
            F = over.clamp(min=0).float().square().sum((1, 2))
            upd = F < bestF[live]
            result[:, live[upd]] = t[:, upd]
            bestF[live[upd]] = F[upd]
            keep = F > 0
            if not keep.all():
                live, t, want, lo, hi, tabu, c = live[keep], t[:, keep], want[:, keep], lo[keep], hi[keep], tabu[keep], c[keep]
            if len(live) == 0:
                break
            score = self.scores(t, want, c, lo, hi)  # [T, moves, P]
            score = score + torch.rand(score.shape[1:], generator=g) * 1e-3
            score.masked_fill_((tabu > i)[:, None], float("inf"))
            pick = score.flatten(1).argmin(1)
            move, pixel = pick // t.shape[-1], pick % t.shape[-1]
            n = torch.arange(len(live))
            t[:, n, pixel] += self.moves[move].T
            tabu[n, pixel] = i + 1 + int(torch.randint(3, 10, (), generator=g))
        return result

    def scores(self, t, want, c, lo, hi):
        gain = self.gains(c, lo, hi)  # [T,K,64,3]
        fixed = fixed_point_ycc(t)
        frac = fixed & 0xFFFF
        delta = (frac[:, :, None] + self.shift.T[:, None, :, None]) >> 16   # [3,T,moves,P]
        T, K = gain.shape[:2]
        P = t.shape[-1]
        L = K if self.grey else K - 2
        flat = gain[:, :L].reshape(T, -1)
        score = flat.gather(1, (self.luma_of * 3 + 1 + delta[0]).flatten(1).long()).reshape(delta.shape[1:])
        idle = delta[0] == 0
        if not self.grey:
            for ch in (1, 2):
                full = fixed[ch] >> 16
                s = full[:, self.where.chroma_index]
                n = s.shape[-1]
                rest = (s.sum(-1, dtype=torch.int32) + averaging_bias(n, t.device)) & (n - 1)
                d = (rest[:, self.chroma_of][:, None] + delta[ch]) >> (n.bit_length() - 1)
                flat = gain[:, L + ch - 1].reshape(T, -1)
                score += flat.gather(1, (self.chroma_of * 3 + 1 + d).flatten(1).long()).reshape(d.shape)
                idle &= d == 0
        off = (t - want)
        m = self.moves.float()
        cost = torch.einsum("ctp,mc->tmp", off.float() , 2 * m) + m.square().sum(1)[:, None]
        score += STILL * cost
        nxt = t[:, :, None] + self.moves.T[:, None, :, None]
        bad = ((nxt < 0) | (nxt > 255)).any(0) | ~self.where.real
        return score.masked_fill_(bad | idle, float("inf"))

    def gains(self, c, lo, hi):
        a, b = (lo - c).float() / 8, (c - hi).float() / 8
        near = torch.maximum(a, b)
        A = max(1, int((near > -0.26).sum(-1).max()))
        idx = near.topk(A, -1).indices      # [T,K,A]
        a, b = a.gather(-1, idx)[..., None], b.gather(-1, idx)[..., None]
        phi = self.basis[idx]               # [T,K,A,64]
        plus = torch.maximum(a - phi, b + phi).clamp_(min=0).square_().sum(-2)
        minus = torch.maximum(a + phi, b - phi).clamp_(min=0).square_().sum(-2)
        base = torch.maximum(a, b).clamp_(min=0).square_().sum(-2)
        return torch.stack([minus - base, torch.zeros_like(plus), plus - base], -1) / 2
