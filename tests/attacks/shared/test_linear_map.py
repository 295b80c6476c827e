import pytest
import torch
import torch.nn.functional as F

from attacks.shared.linear_map import LinearMap


def photos(count, width, seed):
    return F.normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)))


def rank1(mapped, gallery):
    return float(((mapped @ gallery.T).argmax(1) == torch.arange(len(mapped))).float().mean())


@pytest.mark.parametrize("count", [40, 400])
def test_a_turned_space_is_mapped_back(count):
    own = photos(count + 60, 32, 0)
    turn = torch.linalg.qr(torch.randn(48, 48, generator=torch.Generator().manual_seed(1)))[0][:32]
    victim = own @ turn + 0.02 * photos(count + 60, 48, 2)
    found = LinearMap.fitted(victim[:count], own[:count])
    assert rank1(found(victim[count:]), own[count:]) == 1.0


def test_spaces_that_have_nothing_in_common_stay_at_chance():
    found = LinearMap.fitted(photos(200, 48, 3), photos(200, 32, 4))
    assert rank1(found(photos(100, 48, 5)), photos(100, 32, 6)) < 0.06  # chance is 0.01
    assert found.ridge == 100.0  # what is left out is best predicted by nothing


def test_the_ridge_that_is_chosen_is_the_best_of_leaving_one_out():
    victim, own = photos(30, 8, 7), photos(30, 6, 8) + 0.3 * photos(30, 8, 7)[:, :6]
    found = LinearMap.fitted(victim, own)
    x, y = F.normalize(victim.double()), F.normalize(own.double())
    scale = float(torch.linalg.svdvals(x).square().mean())

    def left_out(share):
        total = 0.0
        for i in range(len(x)):
            rest = torch.arange(len(x)) != i
            gram = x[rest].T @ x[rest] + share * scale * torch.eye(8).double()
            total += float((y[i] - x[i] @ torch.linalg.solve(gram, x[rest].T @ y[rest])).square().sum())
        return total

    assert found.ridge == min((10.0**p for p in range(-4, 3)), key=left_out)
