double_[[n]] = Check("double_[[n]]: twice a tensor")


@double_[[n]].stage("shape")
def _(answer: Any, draw: Draw) -> None:
    shape = draw.sizes(2, 2, 6)
    expect_tensor(answer(draw.normal(*shape)), shape)


@double_[[n]].stage("the values")
def _(answer: Any, draw: Draw) -> None:
    x = draw.normal(3, 4)
    mistakes = {"this is the square, not the double.": x**2, "this is half of it.": x / 2}
    expect_close(answer(x), torch.add(x, x), mistakes=mistakes)
